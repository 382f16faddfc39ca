"""Parts of a network that do not depend on each other, and how an engine has them computed at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from torch import nn

T = TypeVar("T")


class RunBranches(Protocol):
    """Computes branches, in whatever order or at once."""

    def __call__(self, branches: Sequence[Callable[[], T]], /) -> list[T]:
        """What each branch gives, in their order."""


def in_turn(branches: Sequence[Callable[[], T]], /) -> list[T]:
    """One branch after the other."""
    return [branch() for branch in branches]


class Branched(nn.Module):
    """A module whose forward has independent branches, computed in turn unless an engine says otherwise.

    Attributes:
        run_branches: Computes them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run_branches: RunBranches = in_turn


def set_branches(network: nn.Module, run_branches: RunBranches) -> None:
    """Has every branched module of a network compute its branches so."""
    for module in network.modules():
        if isinstance(module, Branched):
            module.run_branches = run_branches
