"""The node map of an open GenICam camera: told to people, and saved to a feature file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inspector.cameras.genicam_driver import GENICAM_ERRORS
from inspector.cameras.genicam_features import Access, Kind

_CATEGORY = 8
#: Integer selectors with more places than this are saved at their present place only.
_PLACES_MAX = 64
_ACCESS = {
    Access.NOT_IMPLEMENTED: "not implemented",
    Access.NOT_AVAILABLE: "not available",
    Access.WRITE_ONLY: "write only",
    Access.READ_ONLY: "read only",
    Access.READ_WRITE: "read and write",
}


@dataclass(frozen=True)
class NodeRow:
    """A feature of a camera.

    Attributes:
        category: Where the camera's maker put it.
        name: Name of the node.
        kind: "integer", "float", "boolean", "enumeration", "string" or "command".
        value: Its value; None where it can't be read.
        minimum: Smallest value of a number.
        maximum: Largest value of a number.
        step: Step of an integer.
        choices: Values of an enumeration.
        unit: Unit; empty where the camera names none.
        access: "read and write", "read only", and so on.
    """

    category: str
    name: str
    kind: str
    value: bool | int | float | str | None
    minimum: float | None
    maximum: float | None
    step: float | None
    choices: tuple[str, ...]
    unit: str
    access: str


def node_rows(node_map: Any) -> list[NodeRow]:
    """Every feature of the node map that the camera has, in the maker's order."""
    return [_row(category, node) for category, node in _features(node_map)]


def feature_lines(node_map: Any) -> list[tuple[str, str]]:
    """What a feature file must hold to set the camera up in the same way again.

    A selected feature is saved once for each value of its selector, which stands before it; selectors are left as
    they were.

    Returns:
        Names and values of the nodes that the camera declares streamable, in an order in which they can be written.
    """
    lines: list[tuple[str, str]] = []
    for _, node in _features(node_map):
        if not _to_be_saved(node) or node.node.selecting_features:
            continue
        if node.node.is_selector():
            lines += _selected_lines(node_map, node)
        else:
            lines.append((node.node.name, _text(node)))
    return lines


def _features(node_map: Any) -> Iterator[tuple[str, Any]]:
    """Category and node of every feature; each once, and only what the camera implements."""
    kinds = set(Kind)
    seen: set[str] = set()
    for category in node_map.nodes:
        if category.node.principal_interface_type != _CATEGORY:
            continue
        for child in category.node.children:
            name = child.name if hasattr(child, "name") else child.node.name
            if name in seen or not node_map.has_node(name):
                continue
            node = node_map.get_node(name)
            if node.node.principal_interface_type in kinds and node.get_access_mode() != Access.NOT_IMPLEMENTED:
                seen.add(name)
                yield category.node.name, node


def _row(category: str, node: Any) -> NodeRow:
    kind = Kind(node.node.principal_interface_type)
    access = Access(node.get_access_mode())
    number = kind in (Kind.INTEGER, Kind.FLOAT)
    readable = access in (Access.READ_ONLY, Access.READ_WRITE) and kind is not Kind.COMMAND
    return NodeRow(
        category=category,
        name=node.node.name,
        kind=kind.name.lower(),
        value=_ask(lambda: node.value) if readable else None,
        minimum=_ask(lambda: node.min) if number and readable else None,
        maximum=_ask(lambda: node.max) if number and readable else None,
        step=_ask(lambda: node.inc) if kind is Kind.INTEGER and readable else None,
        choices=tuple(_ask(lambda: node.symbolics) or ()) if kind is Kind.ENUMERATION else (),
        unit=(_ask(lambda: node.unit) or "") if number else "",
        access=_ACCESS[access],
    )


def _ask(read: Any) -> Any:
    """What the camera says; None where it doesn't."""
    try:
        return read()
    except GENICAM_ERRORS:
        return None


def _to_be_saved(node: Any) -> bool:
    return (
        bool(node.node.is_streamable())
        and node.node.principal_interface_type != Kind.COMMAND
        and node.get_access_mode() == Access.READ_WRITE
    )


def _text(node: Any) -> str:
    """The value as a feature file has it: booleans as 0 and 1, floats with all their digits."""
    value = node.value
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


def _selected_lines(node_map: Any, selector: Any) -> list[tuple[str, str]]:
    before = selector.value
    lines = []
    for place in _places(selector):
        try:
            selector.value = place
        except GENICAM_ERRORS:  # declared, but not to be had in this state of the camera
            continue
        lines.append((selector.node.name, str(place)))
        for selected in selector.node.selected_features:
            node = node_map.get_node(selected.node.name)
            if _to_be_saved(node):
                lines.append((node.node.name, _text(node)))
    selector.value = before
    lines.append((selector.node.name, str(before)))
    return lines


def _places(selector: Any) -> list[Any]:
    if selector.node.principal_interface_type == Kind.ENUMERATION:
        return list(selector.symbolics)
    count = (selector.max - selector.min) // selector.inc + 1
    return list(range(selector.min, selector.max + 1, selector.inc)) if count <= _PLACES_MAX else [selector.value]
