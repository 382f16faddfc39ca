"""Watches that a camera keeps its settings: a viewer, an auto function or a reset may change them behind our back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inspector.cameras.genicam_features import Access, Kind, same_value


@dataclass(frozen=True)
class _Kept:
    """A node, the value that it took, and where its selectors stood then."""

    name: str
    node: Any
    value: bool | int | float | str
    selectors: tuple[tuple[Any, Any], ...]


class FeatureGuard:
    """Compares the features of the configuration with what the camera holds.

    Only nodes that can be written are compared, for only they can have been changed; and of those behind a selector
    only the ones that it points to: turning selectors while frames come is not for a watcher.

    Args:
        node_map: The remote device's node map, its features just written.
        names: Names of the features that were written, as the camera knows them.
    """

    def __init__(self, node_map: Any, names: Iterable[str]) -> None:
        self._kept: list[_Kept] = []
        for name in dict.fromkeys(names):
            node = node_map.get_node(name)
            if node.node.principal_interface_type == Kind.COMMAND or node.get_access_mode() != Access.READ_WRITE:
                continue
            selectors = [node_map.get_node(one.node.name) for one in node.node.selecting_features]
            places = tuple((selector, selector.value) for selector in selectors)
            self._kept.append(_Kept(name, node, node.get_value(ignore_cache=True), places))

    def difference(self) -> str | None:
        """The first feature that changed, for a message; None if there is none.

        Raises:
            Exception: One of `GENICAM_ERRORS` where the camera does not answer.
        """
        for kept in self._kept:
            if kept.node.get_access_mode() != Access.READ_WRITE:
                continue
            if any(selector.value != place for selector, place in kept.selectors):
                continue
            value = kept.node.get_value(ignore_cache=True)
            if not same_value(value, kept.value):
                return f"{kept.name} is {value!r} and was set to {kept.value!r}"
        return None
