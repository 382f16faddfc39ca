"""What a process does after an error hangs on the error's place in the tree, and on its exit code."""

from __future__ import annotations

import os
import re

import pytest

import inspector.domain.errors as module
from inspector.domain.errors import FatalError, InspectionError, PartError
from inspector.domain.verdict import Cause

#: Depth in the tree, name, exit code and its name in sysexits.h, as the module's docstring draws them.
DRAWN = [
    (len(prefix) // 4, name, int(code) if code else None, symbol)
    for prefix, name, code, symbol in re.findall(
        r"^ {4}((?:│   |    |├── |└── )*)(\w+)(?:  .*?(?:\((\d+), (EX_\w+)\))?)?$", module.__doc__ or "", re.MULTILINE
    )
]


def test_tree_is_drawn_as_it_is() -> None:
    classes = {
        name: member
        for name, member in vars(module).items()
        if isinstance(member, type) and issubclass(member, InspectionError)
    }
    assert [name for _, name, _, _ in DRAWN] == list(classes)
    above = ["Exception"]
    for depth, name, _, _ in DRAWN:
        above = [*above[: depth + 1], name]
        assert [base.__name__ for base in classes[name].__bases__] == [above[-2]]


@pytest.mark.parametrize(("name", "code", "symbol"), [(n, c, s) for _, n, c, s in DRAWN if c is not None])
def test_exit_codes_are_those_of_sysexits(name: str, code: int, symbol: str) -> None:
    assert getattr(module, name).exit_code == code == getattr(os, symbol)


def test_every_fatal_error_has_a_documented_code() -> None:
    documented = {name for _, name, code, _ in DRAWN if code is not None}
    assert documented == {
        error.__name__ for error in FatalError.__subclasses__() if error.__module__ == module.__name__
    }
    assert FatalError.exit_code == os.EX_SOFTWARE


def test_part_error_names_its_cause() -> None:
    error = PartError(Cause.FRAME_CORRUPT, "no end")
    assert error.cause is Cause.FRAME_CORRUPT
    assert str(error) == "no end"
    assert not isinstance(error, FatalError)
