"""The station's page: verdicts, yield, causes, latency, scores, and the recipe that judges."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from panels import (
    ZERO,
    AnyPanel,
    Query,
    Rows,
    Text,
    density,
    lines,
    listing,
    number,
    ranking,
    steps,
)


def rows() -> Rows:
    """What the line does: verdicts, yield, causes, latency, scores, and the recipe that judges."""
    now: list[AnyPanel] = [
        number(
            Text(
                "Alerts", "Alerts that fire for this station; each has its chapter in docs/operations.md.", units.Short
            ),
            Query('count(ALERTS{alertstate="firing",alertname=~"Inspector.*",station=~"$station|"}) or vector(0)'),
            colours=ZERO,
        ),
        number(
            Text(
                "Yield, 1 h",
                "First-pass yield: the share of all parts of the last hour that passed.",
                units.PercentUnit,
                1,
            ),
            Query('station:inspector_fpy:ratio1h{station=~"$station"}'),
        ),
        number(
            Text("Parts, 1 h", "Parts of the last hour, whatever their verdict.", units.Short, 0),
            Query('sum by (station) (increase(inspector_parts_total{station=~"$station"}[1h]))'),
        ),
        number(
            Text(
                "Rejects, 1 h",
                "Parts of the last hour that did not pass: fails and parts not inspected.",
                units.Short,
                0,
            ),
            Query('station:inspector_rejects:increase1h{station=~"$station"}'),
        ),
        number(
            Text(
                "Not inspected, 15 min",
                "Share of parts that were rejected for a technical reason. More than 1 % raises an alert.",
                units.PercentUnit,
                2,
            ),
            Query('station:inspector_not_inspected:ratio15m{station=~"$station"}'),
            colours=steps((None, "green"), (0.001, "yellow"), (0.01, "red")),
        ),
        number(
            Text(
                "Deadline used",
                "What the slowest hundredth of the verdicts of 15 minutes takes at least, as a share of the deadline.",
                units.PercentUnit,
                0,
            ),
            Query(
                'station:inspector_latency_seconds:p99_15m{station=~"$station"}'
                " / on (station) inspector_deadline_seconds"
            ),
            colours=steps((None, "green"), (0.6, "yellow"), (0.8, "red")),
        ),
        number(
            Text("Open parts", "Parts on their way that have no verdict yet.", units.Short),
            Query('inspector_open_parts{station=~"$station"}'),
            none="stopped",
        ),
        number(
            Text(
                "Imbalance", "Parts without a verdict, or with two. Always 0; anything else is a defect.", units.Short
            ),
            Query('inspector_ledger_imbalance_parts{station=~"$station"}'),
            colours=steps((None, "red"), (-0.5, "green"), (0.5, "red")),
            none="stopped",
        ),
    ]
    verdicts: list[AnyPanel] = [
        lines(
            Text(
                "Parts a minute by decision", "How many parts pass, fail, or are not inspected.", units.CountsPerMinute
            ),
            Query(
                '60 * sum by (decision) (rate(inspector_parts_total{station=~"$station"}[$__rate_interval]))',
                "{{decision}}",
            ),
            stacked=True,
        ),
        ranking(
            Text(
                "Rejects by cause",
                "All rejects of the chosen time. The table of causes tells what to do.",
                units.Short,
                0,
            ),
            Query(
                'sum by (cause) (increase(inspector_parts_total{station=~"$station",decision!="pass"}[$__range])) > 0',
                "{{cause}}",
            ),
        ),
        lines(
            Text("First-pass yield", "Over the last hour at each moment.", units.PercentUnit),
            Query('station:inspector_fpy:ratio1h{station=~"$station"}', "yield"),
        ),
        lines(
            Text(
                "Not inspected by cause",
                "Parts a minute that were rejected unjudged, by their cause.",
                units.CountsPerMinute,
            ),
            Query(
                '60 * sum by (cause) (rate(inspector_parts_total{station=~"$station",decision="not_inspected"}'
                "[$__rate_interval]))",
                "{{cause}}",
            ),
            stacked=True,
        ),
    ]
    latency: list[AnyPanel] = [
        lines(
            Text(
                "Latency and deadline",
                "Time from the trigger to the verdict; above the deadline it is a reject.",
                units.Seconds,
            ),
            Query('station:inspector_latency_seconds:p50_15m{station=~"$station"}', "median"),
            Query('station:inspector_latency_seconds:p99_15m{station=~"$station"}', "99th percentile"),
            Query('inspector_deadline_seconds{station=~"$station"}', "deadline"),
        ),
        lines(
            Text(
                "Time by stage",
                "Mean time in each stage: capture (trigger to frame), queue (waiting, transport), copy, compute (the "
                "network), verdict (back to the gate).",
                units.Seconds,
            ),
            Query(
                'sum by (stage) (rate(inspector_stage_seconds_sum{station=~"$station",stage!="whole"}'
                "[$__rate_interval]))"
                ' / (sum by (stage) (rate(inspector_stage_seconds_count{station=~"$station",stage!="whole"}'
                "[$__rate_interval])) > 0)",
                "{{stage}}",
            ),
            stacked=True,
        ),
    ]
    scores: list[AnyPanel] = [
        density(
            Text(
                "Scores against the threshold",
                "Each part's score divided by the threshold; above 1 it fails.",
                units.NoUnit,
            ),
            Query(
                'sum by (le) (increase(inspector_score_ratio_bucket{station=~"$station"}[$__rate_interval]))', "{{le}}"
            ),
        ),
        lines(
            Text(
                "Score quantiles",
                "Scores divided by the threshold. A median that climbs for days means that parts, light or lens "
                "change: look before good parts are rejected.",
                units.NoUnit,
            ),
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) (rate(inspector_score_ratio_bucket"
                    '{station=~"$station"}[$__rate_interval])))',
                    legend,
                )
                for share, legend in ((0.5, "median"), (0.9, "90th percentile"), (0.99, "99th percentile"))
            ),
            limit=steps((None, "transparent"), (1, "red")),
        ),
        lines(
            Text(
                "Score drift",
                "Evidence that the scores of passed parts have moved away from the calibration's, as a decimal "
                "logarithm: 8 comes by chance once in 100 million good parts. Beyond it stands the alarm: recalibrate. "
                "The test gets used to a change, so the curve may fall again; the median tells whether it is gone.",
                units.NoUnit,
            ),
            Query('inspector_score_drift_evidence{station=~"$station"}', "evidence"),
            limit=steps((None, "transparent"), (8, "red")),
        ),
        lines(
            Text(
                "Median score against the calibration's",
                "Median score of the last 127 passed parts, divided by that of the calibration's parts. Above 1: "
                "light, lens or parts change, and good parts will be rejected. Below 1: the picture may be dark or out "
                "of focus, and defects may pass.",
                units.PercentUnit,
            ),
            Query('inspector_score_median_ratio{station=~"$station"}', "median"),
            Query('inspector_score_drift_alarm{station=~"$station"}', "alarm"),
        ),
        lines(
            Text(
                "Light",
                "Mean brightness of a frame and share of its pixels that are white, measured once a second. Steps and "
                "slow changes are lamps, dirt or daylight.",
                units.PercentUnit,
            ),
            Query('inspector_frame_brightness_ratio{station=~"$station"}', "brightness"),
            Query('inspector_frame_white_ratio{station=~"$station"}', "white pixels"),
        ),
        lines(
            Text(
                "Focus",
                "Sharpness in the middle of a frame, as 'inspector snapshot' measures it. Compare it with the days "
                "before: it falls when the lens moves or gets dirty.",
                units.NoUnit,
            ),
            Query('inspector_frame_sharpness{station=~"$station"}', "sharpness"),
        ),
        lines(
            Text(
                "Fails and the recipe's promise",
                "Share of fails among judged parts, beside the share of good parts that the calibration promised to "
                "reject at most. The distance between them is true defects, or a recipe that no longer fits.",
                units.PercentUnit,
            ),
            Query('station:inspector_fail:ratio1h{station=~"$station"}', "fails, 1 h"),
            Query('inspector_recipe_promise_ratio{station=~"$station"}', "promise"),
        ),
        lines(
            Text(
                "Open parts",
                "Parts without a verdict yet. It must come back to 0 whenever the belt stands.",
                units.Short,
            ),
            Query('inspector_open_parts{station=~"$station"}', "open parts"),
            Query('inspector_ledger_imbalance_parts{station=~"$station"}', "imbalance"),
        ),
    ]
    recipe: list[AnyPanel] = [
        listing(
            Text("Recipe", "The recipe that judges, by name, version and content hash.", units.NoUnit),
            Query('inspector_recipe_info{station=~"$station"}'),
            width=18,
        ),
        number(
            Text("Threshold", "Scores above it are fails.", units.NoUnit, 3),
            Query('inspector_threshold{station=~"$station"}'),
            none="stopped",
        ),
        number(
            Text("Confidence", "How sure the calibration is of its promise.", units.PercentUnit, 0),
            Query('inspector_recipe_confidence_ratio{station=~"$station"}'),
            none="stopped",
        ),
    ]
    return (
        ("Now", now),
        ("Verdicts", verdicts),
        ("Latency against the deadline", latency),
        ("Scores and open parts", scores),
        ("Recipe", recipe),
    )
