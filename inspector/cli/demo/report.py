"""What a demo shows at its end."""

from __future__ import annotations

from rich.table import Table

from inspector.cli.figures import Run
from inspector.domain.threshold import Threshold


def run_table(run: Run, threshold: Threshold) -> Table:
    """The figures of a run, for people."""
    table = Table(title="the run", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    tally, (low, high) = run.tally, run.false_reject_interval()
    table.add_row(
        "parts",
        f"{tally.triggered} triggered = {tally.passed} pass + {tally.failed} fail + "
        f"{tally.not_inspected} not inspected + {tally.pending} pending",
    )
    if tally.not_inspected:
        table.add_row("causes", ", ".join(f"{cause} {count}" for cause, count in run.causes.items()))
    table.add_row("threshold", threshold.describe())
    verdict = "consistent with" if run.keeps(threshold.promise) else "HIGHER THAN"
    table.add_row(
        "good parts",
        f"{run.good_rejected} of {run.good} rejected: {run.false_reject_rate:.2%} "
        f"(95 % interval {low:.2%} to {high:.2%}), {verdict} the promise of {threshold.promise:.2%}",
    )
    table.add_row("defective parts", f"{run.bad_rejected} of {run.bad} rejected: {run.detection_rate:.2%}")
    for name, (parts, rejected) in run.by_class.items():
        table.add_row(f"  {name}", f"{rejected} of {parts}")
    if run.unknown:
        table.add_row("unknown parts", f"{run.unknown} without a frame that tells which part it was, all rejected")
    table.add_row("image AUROC", f"{run.image_auroc:.4f}")
    table.add_row(
        "latency", f"trigger to verdict: median {run.latency(50):.1f} ms, 99th percentile {run.latency(99):.1f} ms"
    )
    table.add_row("throughput", f"{run.frames_per_second:.1f} parts a second")
    return table
