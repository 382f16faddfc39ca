"""A line that runs takes up what it can, all or nothing, and says what it can't."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.config.changes import changes
from inspector.config.schema import InspectorConfig
from inspector.domain.errors import ConfigError

BASE: dict[str, Any] = {
    "station": "s",
    "recipe": "/r/a",
    "camera": {"kind": "genicam", "serial": "1", "features": [{"name": "ExposureTime", "value": 800.0}]},
    "archive": {"folder": "/kept"},
    "views": {"side": {"recipe": "/r/side", "camera": {"kind": "synthetic", "rate": 20}}},
}


def config(**sections: Any) -> InspectorConfig:
    return InspectorConfig.model_validate(BASE | sections)


def test_nothing_changed_is_nothing_to_do() -> None:
    assert changes(config(), config(), paused=False).keys == ()


def test_recipes_limits_and_the_archives_own_settings_are_taken_up_while_the_line_runs() -> None:
    side = BASE["views"]["side"]
    asked = changes(
        config(),
        config(
            recipe="/r/b",
            views={"side": side | {"recipe": "/r/other"}},
            supervision={"restarts": 9},
            archive={"folder": "/kept", "quota_days": 10},
        ),
        paused=False,
    )
    assert asked.recipes == ("", "side")
    assert asked.cameras == ()
    assert asked.archive
    assert asked.supervision
    assert set(asked.keys) == {"recipe", "views.side.recipe", "supervision.restarts", "archive.quota_days"}


def test_a_camera_is_set_up_anew_only_while_no_part_can_be_lost() -> None:
    feature = {"name": "ExposureTime", "value": 900.0}
    new = config(camera=BASE["camera"] | {"features": [feature]})
    with pytest.raises(ConfigError, match=r"camera\.features: .*pause the line first"):
        changes(config(), new, paused=False)
    assert changes(config(), new, paused=True).cameras == ("",)
    assert changes(config(), config(camera={"kind": "synthetic"}), paused=True).cameras == ("",)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"station": "t"}, "station"),
        ({"line": {"deadline_ms": 100}}, "line.deadline_ms"),
        ({"worker": {"threads": 7}}, "worker.threads"),
        ({"metrics": {"port": 1234}}, "metrics.port"),
        ({"archive": None}, "archive"),
        ({"archive": {"folder": "/kept", "pass_ratio": 0.5}}, "archive.pass_ratio"),
        ({"views": {}}, "views"),
        ({"verdicts": {"log": "/other"}}, "verdicts.log"),
        ({"views": {"side": BASE["views"]["side"] | {"delay_ms": 5}}}, "views.side.delay_ms"),
    ],
)
def test_what_only_a_restart_takes_up_is_refused_by_name_and_nothing_is_done(
    sections: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        changes(config(), config(recipe="/r/b", **sections), paused=True)
    assert str(caught.value).startswith(f"{key}: can't change while the line runs")
