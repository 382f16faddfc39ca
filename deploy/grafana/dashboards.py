"""The Grafana dashboards, written down as Python: run it to write dashboards/*.json, or with --check to compare.

    python deploy/grafana/dashboards.py

The JSON is checked in and is what a plant provisions; nobody needs this program to use it. It needs
grafana-foundation-sdk (the extra `monitoring`), which needs Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import machine_room
import station
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableRefresh,
    VariableSort,
)
from panels import DATASOURCE, Rows

#: Where the JSON lies.
FOLDER = Path(__file__).resolve().parent / "dashboards"


def dashboard(uid: str, title: str, description: str, rows: Rows, *, several: bool = False) -> Dashboard:
    """A page with the choice of datasource and station at its top.

    Args:
        uid: Identity of the page, part of its address.
        title: Its name.
        description: What it is for.
        rows: Headlines and their panels.
        several: More than one station can be chosen.
    """
    station_variable = (
        QueryVariable("station")
        .label("Station")
        .datasource(DATASOURCE)
        .query("label_values(inspector_build_info, station)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    board = (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["inspector"])
        .readonly()
        .time("now-6h", "now")
        .timezone("browser")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Datasource").type("prometheus"))
        .with_variable(station_variable)
        .link(
            DashboardLink("Inspection")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["inspector"])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
    )
    panel_id = 0
    for headline, row_panels in rows:
        panel_id += 1
        board.with_row(Row(headline).id(panel_id))
        for panel in row_panels:
            panel_id += 1
            board.with_panel(panel.id(panel_id))
    return board


def rendered() -> dict[str, str]:
    """Text of each JSON file by its name."""
    boards = {
        "station.json": dashboard(
            "inspector-station",
            "Inspection: station",
            "What one station does. For the machine behind it see 'Inspection: machine room'.",
            station.rows(),
        ),
        "machine-room.json": dashboard(
            "inspector-machine-room",
            "Inspection: machine room",
            "What the stations run on. For parts and verdicts see 'Inspection: station'.",
            machine_room.rows(),
            several=True,
        ),
    }
    return {
        name: json.dumps(board.build(), cls=JSONEncoder, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
        for name, board in boards.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Writes the files, or with --check says which are not what would be written.

    Returns:
        Exit code: 1 if --check found a difference.
    """
    parser = argparse.ArgumentParser(description="Write Grafana dashboards as JSON.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with the files")
    check = parser.parse_args(argv).check
    stale = 0
    for name, text in rendered().items():
        path = FOLDER / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path}: not what dashboards.py makes; run it again without --check", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
