"""Reads `inspector.yaml`: every mistake is reported with its line, relative paths are the file's."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from inspector.config.camera_server import CameraServerConfig
from inspector.config.cameras import CameraConfig, VideoCamera
from inspector.config.schema import InspectorConfig
from inspector.domain.errors import ConfigError

_Key = tuple[str | int, ...]
_Model = TypeVar("_Model", bound=BaseModel)
#: Tags of the keys of a mapping: text, and the merge key ``<<``.
_NAMES = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")

_CAMERAS: dict[str, type[BaseModel]] = {
    typing.get_args(model.model_fields["kind"].annotation)[0]: model
    for model in typing.get_args(typing.get_args(CameraConfig)[0])
}


def load_config(path: Path) -> InspectorConfig:
    """Reads and validates a configuration file.

    Args:
        path: The YAML file. Relative paths in it are taken from its folder.

    Returns:
        The frozen configuration, with absolute paths.

    Raises:
        ConfigError: The file can't be read or is wrong; the message has a line ``file:line: key: what`` for
            each mistake.
    """
    return parse_config(_text(path), path)


def load_camera_server(path: Path) -> CameraServerConfig:
    """Reads the configuration of `inspector camera`, as `load_config` does that of a station."""
    return _parsed(_text(path), path, CameraServerConfig, "'camera:' and 'curve:'")


def parse_config(text: str, path: Path) -> InspectorConfig:
    """Validates configuration text as `load_config` does; `path` names it and anchors relative paths."""
    return _parsed(text, path, InspectorConfig, "'station:', 'recipe:' and 'camera:'")


def _parsed(text: str, path: Path, model: type[_Model], keys: str) -> _Model:
    data, lines = _parse_yaml(text, path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected keys such as {keys}")
    try:
        config = model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_describe(error, lines, path, model))) from None
    anchored = _anchored(config, path.absolute().parent)
    assert isinstance(anchored, model)
    return anchored


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't read the configuration: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the configuration is not UTF-8 text") from error


def _parse_yaml(text: str, path: Path) -> tuple[Any, dict[_Key, int]]:
    """The data and the line of each key, duplicate keys refused."""
    lines: dict[_Key, int] = {(): 1}
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise ConfigError(f"{path}:1: the configuration is empty")
            _walk(node, (), lines, path)
            return loader.construct_document(node), lines
        finally:
            loader.dispose()
    except RecursionError:
        raise ConfigError(f"{path}:1: not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number that YAML can't make
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = str(getattr(error, "problem", error)).splitlines()[0]
        raise ConfigError(f"{path}:{line}: not valid YAML: {problem}") from None


def _walk(node: yaml.Node, key: _Key, lines: dict[_Key, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for name_node, value_node in node.value:
            child = (*key, str(name_node.value))
            line = name_node.start_mark.line + 1
            if name_node.tag not in _NAMES:
                raise ConfigError(
                    f"{path}:{line}: {_dotted(key)}: a key is a name; quote one that YAML takes for something else"
                )
            if child in lines:
                raise ConfigError(
                    f"{path}:{line}: {_dotted(child)}: the key stands here a second time (first on line {lines[child]})"
                )
            lines[child] = line
            _walk(value_node, child, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            item_key = (*key, index)
            lines[item_key] = item.start_mark.line + 1
            _walk(item, item_key, lines, path)


def _describe(error: ValidationError, lines: dict[_Key, int], path: Path, model: type[BaseModel]) -> list[str]:
    out = []
    for item in error.errors():
        place = item["loc"]
        key = _written(place)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key" + _suggestion(str(place[-1]), _names_at(model, place[:-1]))
        elif item["type"] == "missing":
            message = "missing: add this key"
        elif item["type"] == "union_tag_not_found":
            key, message = (*key, "kind"), f"missing: one of {', '.join(_CAMERAS)}"
        elif item["type"] == "union_tag_invalid":
            key, message = (*key, "kind"), "unknown kind" + _suggestion(item["ctx"]["tag"], tuple(_CAMERAS))
        else:
            key = _known(key, lines)  # without the members of unions that pydantic tried
        out.append(f"{path}:{lines[_known(key, lines)]}: {_dotted(key)}: {message}")
    return out


def _written(place: _Key) -> _Key:
    """A place as the file has it: for a camera pydantic names the kind between the key and what is below it."""
    for at in range(1, len(place)):
        if place[at - 1] == "camera" and place[at] in _CAMERAS:
            return (*place[:at], *place[at + 1 :])
    return place


def _known(key: _Key, lines: dict[_Key, int]) -> _Key:
    """The key itself, or what stands in the file of it."""
    while key not in lines:
        key = key[:-1]
    return key


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(sorted(known))}"


def _names_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Names of the fields that are known at a place of the configuration, given as pydantic gives it."""
    models: list[type[BaseModel]] = [model]
    a_name = False  # the part is a name that the user has chosen
    for part in place:
        if isinstance(part, int) or a_name:
            a_name = False
            continue
        if _CAMERAS.get(part) in models:
            models = [_CAMERAS[part]]
            continue
        found: list[type[BaseModel]] = []
        for candidate in models:
            info = candidate.model_fields.get(part)
            stack: list[Any] = [info.annotation] if info else []
            while stack:
                annotation = stack.pop()
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    found.append(annotation)
                else:
                    a_name = a_name or typing.get_origin(annotation) is dict
                    stack.extend(typing.get_args(annotation))
        models = found
    return [name for found_model in models for name in found_model.model_fields]


def _dotted(key: _Key) -> str:
    return ".".join(str(part) for part in key) or "(top)"


def _anchored(value: Any, base: Path) -> Any:
    """A copy of a model with its relative paths made absolute."""
    if isinstance(value, BaseModel):
        changes = {name: _anchored(getattr(value, name), base) for name in type(value).model_fields}
        if isinstance(value, VideoCamera) and "://" not in value.source:
            changes["source"] = str(base / value.source)
        return value.model_copy(update=changes)
    if isinstance(value, dict):
        return {key: _anchored(item, base) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_anchored(item, base) for item in value)
    if isinstance(value, Path):
        return base / value
    return value
