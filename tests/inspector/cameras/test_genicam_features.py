"""Writing features: the right type for each kind of node, nothing rounded in silence, every doubt an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.cameras.genicam_driver import GENICAM_ERRORS
from inspector.cameras.genicam_features import Access, Kind, load_feature_file, write_features
from inspector.config.cameras import Feature
from inspector.domain.errors import CameraError


class Node:
    """A node of a camera; `takes` maps what is written to what the camera then holds."""

    def __init__(self, kind: int, access: int = Access.READ_WRITE, **keys: Any) -> None:
        self.node = self
        self.name = "?"
        self.principal_interface_type = kind
        self.symbolics = keys.get("symbolics", ())
        self.min, self.max, self.inc, self.unit = 1, 100, 1, "us"
        self.executed = 0
        self.written: list[Any] = []
        self._access = access
        self._takes = keys.get("takes", lambda value: value)
        self._done_after = keys.get("done_after", 0)

    def get_access_mode(self) -> int:
        return self._access

    @property
    def value(self) -> Any:
        raise AssertionError("the cache would only give back what was written")

    @value.setter
    def value(self, value: Any) -> None:
        self.written.append(value)

    def get_value(self, *, ignore_cache: bool) -> Any:
        assert ignore_cache
        return self._takes(self.written[-1])

    def execute(self) -> None:
        self.executed += 1

    def is_done(self) -> bool:
        self._done_after -= 1
        return self._done_after < 0


class NodeMap:
    def __init__(self, **nodes: Node) -> None:
        self._nodes = nodes
        for name, node in nodes.items():
            node.name = name
        self.nodes = list(nodes.values())

    def has_node(self, name: str) -> bool:
        return name in self._nodes

    def get_node(self, name: str) -> Node:
        return self._nodes[name]


def write(node: Node, *values: bool | int | float | str) -> list[Any]:
    write_features(NodeMap(Thing=node), [Feature(name="Thing", value=value) for value in values])
    return node.written


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        (Kind.INTEGER, 12, 12),
        (Kind.INTEGER, 12.0, 12),
        (Kind.FLOAT, 5000, 5000.0),
        (Kind.FLOAT, 0.25, 0.25),
        (Kind.BOOLEAN, True, True),
        (Kind.BOOLEAN, 0, False),
        (Kind.STRING, "left", "left"),
        (Kind.STRING, 12, "12"),
    ],
)
def test_value_is_written_in_the_type_of_the_node(kind: Kind, value: Any, written: Any) -> None:
    (out,) = write(Node(kind), value)
    assert out == written
    assert type(out) is type(written)


@pytest.mark.parametrize(("value", "written"), [(True, "On"), (False, "Off"), ("On", "On")])
def test_bare_on_and_off_of_yaml_reach_an_enumeration(value: bool | str, written: str) -> None:
    """YAML reads `value: On` as true: TriggerMode would be refused for no fault of the user."""
    assert write(Node(Kind.ENUMERATION, symbolics=("Off", "On")), value) == [written]


def test_true_reaches_an_enumeration_that_says_true() -> None:
    assert write(Node(Kind.ENUMERATION, symbolics=("True", "False")), False) == ["False"]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Kind.INTEGER, 12.5, "takes a whole number, not 12.5; it takes 1 to 100 in steps of 1"),
        (Kind.INTEGER, True, "takes a whole number, not True"),
        (Kind.INTEGER, "12", "takes a whole number, not '12'"),
        (Kind.FLOAT, "fast", "takes a number, not 'fast'; it takes 1 to 100 us"),
        (Kind.FLOAT, False, "takes a number, not False"),
        (Kind.BOOLEAN, "yes", "takes true or false, not 'yes'"),
        (Kind.BOOLEAN, 2, "takes true or false, not 2"),
        (Kind.ENUMERATION, "Line9", "there is no value 'Line9'; it takes Line1, Line2"),
        (Kind.ENUMERATION, True, "there is no value 'On'"),
        (Kind.COMMAND, 1.0, "is a command; give the value true"),
        (8, "x", "is no feature that holds a value"),
    ],
)
def test_value_of_another_type_is_refused(kind: int, value: Any, message: str) -> None:
    node = Node(kind, symbolics=("Line1", "Line2"))
    with pytest.raises(CameraError) as caught:
        write(node, value)
    assert str(caught.value).startswith("camera.features[0] Thing: " + message)
    assert node.written == []
    assert node.executed == 0


def test_difference_on_reading_back_names_both_values_and_the_limits() -> None:
    node = Node(Kind.FLOAT, takes=lambda value: value - 2.5)
    with pytest.raises(
        CameraError, match=r"wrote 50\.0, the camera took 47\.5; it takes 1 to 100 us; configure a value"
    ):
        write(node, 50)


def test_rounding_of_a_32_bit_register_is_no_difference() -> None:
    assert write(Node(Kind.FLOAT, takes=lambda value: value * (1 + 5e-8)), 16.7) == [16.7]


def test_features_are_written_in_their_order_and_may_repeat() -> None:
    node = Node(Kind.ENUMERATION, symbolics=("FrameStart", "LineStart"))
    assert write(node, "FrameStart", "LineStart", "FrameStart") == ["FrameStart", "LineStart", "FrameStart"]


def test_write_only_node_is_not_read_back() -> None:
    def takes(value: object) -> object:
        raise AssertionError

    assert write(Node(Kind.INTEGER, Access.WRITE_ONLY, takes=takes), 3) == [3]


@pytest.mark.parametrize(
    ("access", "name"),
    [(Access.READ_ONLY, "read only"), (Access.NOT_AVAILABLE, "not available"), (Access.NOT_IMPLEMENTED, "not impl")],
)
def test_node_that_is_closed_says_why(access: Access, name: str) -> None:
    with pytest.raises(CameraError, match=rf"Thing: can't be written now \({name}.*mind the order"):
        write(Node(Kind.INTEGER, access), 3)


def test_unknown_name_is_refused_with_the_nearest() -> None:
    node_map = NodeMap(ExposureTime=Node(Kind.FLOAT), Gain=Node(Kind.FLOAT))
    with pytest.raises(CameraError, match=r"features\[1\] ExposureTimes: .*no such node; did you mean ExposureTime\?"):
        write_features(node_map, [Feature(name="Gain", value=1), Feature(name="ExposureTimes", value=1)])


@pytest.mark.parametrize(("there", "asked"), [("ExposureTimeAbs", "ExposureTime"), ("PtpEnable", "GevIEEE1588")])
def test_older_and_newer_name_of_a_feature_are_the_same(there: str, asked: str) -> None:
    node = Node(Kind.FLOAT)
    write_features(NodeMap(**{there: node}), [Feature(name=asked, value=7.0)])
    assert node.written == [7.0]


def load(tmp_path: Path, text: str, **nodes: Node) -> None:
    path = tmp_path / "camera.pfs"
    path.write_text(text)
    load_feature_file(NodeMap(**nodes), path)


def test_feature_file_is_written_in_the_types_of_the_nodes(tmp_path: Path) -> None:
    nodes = {
        "Width": Node(Kind.INTEGER),
        "Gain": Node(Kind.FLOAT),
        "ReverseX": Node(Kind.BOOLEAN),
        "TriggerMode": Node(Kind.ENUMERATION, symbolics=("Off", "On")),
        "DeviceUserID": Node(Kind.STRING),
    }
    text = "# {05D8C294}\n# GenApi persistence file (version 3.0.0)\n\nWidth\t0x20\nGain\t1.5\nReverseX\t1\n"
    load(tmp_path, text + "TriggerMode\tOn\nDeviceUserID\t12 left\n", **nodes)
    assert [node.written for node in nodes.values()] == [[32], [1.5], [True], ["On"], ["12 left"]]


def test_feature_that_depends_on_a_later_line_is_written_again(tmp_path: Path) -> None:
    """OffsetX stands before Width in files of some makers: it fits only once the region is smaller."""
    width = Node(Kind.INTEGER)

    def takes(value: int) -> int:
        if not width.written:
            raise GENICAM_ERRORS[1]("Value = 8 must be equal or smaller than Max = 0.")
        return value

    offset = Node(Kind.INTEGER, takes=takes)
    load(tmp_path, "OffsetX\t8\nWidth\t16\n", OffsetX=offset, Width=width)
    assert (offset.written, width.written) == ([8, 8, 8], [16, 16])


def test_second_time_each_line_meets_its_own_place_of_the_selector(tmp_path: Path) -> None:
    selector = Node(Kind.ENUMERATION, symbolics=("A", "B"))
    unlock = Node(Kind.INTEGER)
    met: list[str] = []

    def takes(value: int) -> int:
        if not unlock.written:
            raise GENICAM_ERRORS[1]("locked")
        met.append(f"{selector.written[-1]}={value}")
        return value

    text = "Selector\tA\nThing\t1\nSelector\tB\nThing\t2\nUnlock\t1\n"
    load(tmp_path, text, Selector=selector, Thing=Node(Kind.INTEGER, takes=takes), Unlock=unlock)
    assert met == ["A=1", "B=2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Width\t12.5\n", r"camera\.pfs:1: Width: takes a whole number, not '12\.5'"),
        ("# header\n\nGian\t1\n", r"camera\.pfs:3: Gian: the camera has no such node"),
        ("Width 12\n", r"camera\.pfs:1: expected a name, a tab and a value, not 'Width 12'"),
    ],
)
def test_wrong_line_of_a_feature_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CameraError, match=message):
        load(tmp_path, text, Width=Node(Kind.INTEGER))


def test_missing_feature_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"camera\.features_file: can't read .*none\.pfs: No such file"):
        load_feature_file(NodeMap(), tmp_path / "none.pfs")


def test_error_of_the_node_map_becomes_a_camera_error() -> None:
    def takes(value: object) -> object:
        raise GENICAM_ERRORS[1]("Bad luck. : AccessException thrown in node 'Thing' (file 'x.h', line 1)")

    with pytest.raises(
        CameraError, match=r"^camera\.features\[0\] Thing = 3: Bad luck; it takes 1 to 100 in steps of 1$"
    ):
        write(Node(Kind.INTEGER, takes=takes), 3)


def test_command_is_waited_for(clock: Any) -> None:
    node = Node(Kind.COMMAND, Access.WRITE_ONLY, done_after=3)
    write_features(NodeMap(Load=node), [Feature(name="Load", value=True)], clock, clock.sleep)
    assert node.executed == 1
    never = Node(Kind.COMMAND, Access.WRITE_ONLY, done_after=1_000_000)
    with pytest.raises(CameraError, match=r"features\[0\] Load: the command was not done after 5 s"):
        write_features(NodeMap(Load=never), [Feature(name="Load", value=True)], clock, clock.sleep)
