"""Short forms of Grafana's panels as these dashboards use them: each with title, explanation, unit and datasource.

Every query goes to the datasource that the dashboard's variable names, so that no dashboard knows one by its uid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.heatmap import HeatmapColorOptions, YAxisConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

#: The datasource that is chosen at the top of the dashboard.
DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

#: Columns of Grafana's grid.
GRID_COLUMNS = 24

_Panel = TypeVar(
    "_Panel", stat.Panel, timeseries.Panel, bargauge.Panel, heatmap.Panel, table.Panel, statetimeline.Panel
)

#: Any panel of these dashboards.
AnyPanel = stat.Panel | timeseries.Panel | bargauge.Panel | heatmap.Panel | table.Panel | statetimeline.Panel

#: Headlines and the panels under each.
Rows = Sequence[tuple[str, Sequence[AnyPanel]]]


@dataclass(frozen=True)
class Query:
    """A PromQL query.

    Attributes:
        expr: The expression; `$station` is the chosen station, `$__rate_interval` and `$__range` are Grafana's.
        legend: Name of a series, with labels in double braces.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Text:
    """What a person reads at a panel.

    Attributes:
        title: Its headline.
        description: What it shows and what to make of it; behind the panel's small i.
        unit: Grafana's unit id, see `grafana_foundation_sdk.models.units`.
        decimals: Digits after the point; None leaves it to Grafana.
    """

    title: str
    description: str
    unit: str
    decimals: int | None = None


def steps(*bounds: tuple[float | None, str]) -> ThresholdsConfig:
    """Colours from each bound upwards; the first bound is None."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in bounds])
    )


#: No colour says good or bad.
NEUTRAL = steps((None, "blue"))
#: Anything above 0 is wrong.
ZERO = steps((None, "green"), (0.5, "red"))


def _target(query: Query, letter: str) -> Dataquery:
    return Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter).datasource(DATASOURCE)


def _dressed(
    panel: _Panel, text: Text, queries: tuple[Query, ...], width: int, height: int, *, instant: bool
) -> _Panel:
    panel.title(text.title).description(text.description).unit(text.unit).datasource(DATASOURCE)
    panel.span(width).height(height)
    if text.decimals is not None:
        panel.decimals(text.decimals)
    for number, query in enumerate(queries):
        target = _target(query, chr(ord("A") + number))
        panel.with_target(target.instant() if instant else target.range())
    return panel


def _legend() -> VizLegendOptions:
    return (
        VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def number(
    text: Text, query: Query, *, colours: ThresholdsConfig = NEUTRAL, none: str = "no parts", width: int = 3
) -> stat.Panel:
    """One number, coloured by its thresholds; `none` stands where there is no value."""
    panel = _dressed(stat.Panel(), text, (query,), width, 4, instant=True)
    return (
        panel.thresholds(colours)
        .no_value(none)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )


def lines(
    text: Text,
    *queries: Query,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    limit: ThresholdsConfig | None = None,
) -> timeseries.Panel:
    """Curves over time from 0 upwards; a limit is drawn as a dashed line."""
    panel = _dressed(timeseries.Panel(), text, queries, width, height, instant=False)
    panel.draw_style(GraphDrawStyle.LINE).line_width(1).show_points(VisibilityMode.NEVER).axis_soft_min(0)
    panel.fill_opacity(30 if stacked else 5)
    panel.legend(_legend()).tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    if stacked:
        panel.stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if limit is not None:
        panel.thresholds(limit)
        panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return panel


def ranking(text: Text, query: Query, *, none: str = "none", width: int = 12, height: int = 8) -> bargauge.Panel:
    """A horizontal bar for each series, over the whole range of time."""
    panel = _dressed(bargauge.Panel(), text, (query,), width, height, instant=True)
    return (
        panel.no_value(none)
        .min(0)
        .thresholds(NEUTRAL)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    )


def density(text: Text, query: Query, *, width: int = 12, height: int = 8) -> heatmap.Panel:
    """Buckets of a histogram over time; `unit` is that of the buckets' bounds."""
    panel = heatmap.Panel().title(text.title).description(text.description).datasource(DATASOURCE)
    panel.span(width).height(height)
    panel.with_target(_target(query, "A").range().format(PromQueryFormat.HEATMAP))
    return (
        panel.calculate(False)
        .color(HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .y_axis(YAxisConfig().unit(text.unit))
        .cell_gap(1)
    )


def listing(text: Text, query: Query, *, width: int = 24, height: int = 4) -> table.Panel:
    """A row for each series, a column for each label."""
    panel = table.Panel().title(text.title).description(text.description).datasource(DATASOURCE)
    panel.unit(text.unit).span(width).height(height)
    panel.with_target(_target(query, "A").instant().format(PromQueryFormat.TABLE))
    unwanted = {name: True for name in ("Time", "Value", "__name__", "instance", "job")}
    return panel.with_transformation(DataTransformerConfig(id_val="organize", options={"excludeByName": unwanted}))


def states(text: Text, *queries: Query, width: int = 12, height: int = 8) -> statetimeline.Panel:
    """A band for each series: 1 is up, 0 is down."""
    panel = _dressed(statetimeline.Panel(), text, queries, width, height, instant=False)
    return (
        panel.thresholds(steps((None, "red"), (1, "green")))
        .mappings(
            [
                ValueMap(
                    options={
                        "0": ValueMappingResult(text="down", color="red", index=0),
                        "1": ValueMappingResult(text="up", color="green", index=1),
                    }
                )
            ]
        )
        .show_value(VisibilityMode.AUTO)
        .legend(_legend())
    )
