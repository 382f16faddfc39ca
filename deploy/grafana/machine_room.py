"""The machine room's page: processes, queues, camera, records, what works beside the line, disk and GPU."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from panels import (
    AnyPanel,
    Query,
    Rows,
    Text,
    lines,
    listing,
    number,
    states,
    steps,
)

#: Adds the station to series that Prometheus knows by their address only.
_OF_STATION = '* on (job, instance) group_left (station) inspector_build_info{station=~"$station"}'


def rows() -> Rows:
    """What the line runs on: processes, queues, camera, records, what judges and outlines beside it, disk and GPU."""
    processes: list[AnyPanel] = [
        states(
            Text(
                "Processes",
                "Ready or not: the daemon as Prometheus reaches it, its camera process, its worker.",
                units.NoUnit,
            ),
            Query('inspector_process_up{station=~"$station"}', "{{station}} {{process}}"),
            Query('up{job="inspector"}', "{{instance}} daemon"),
        ),
        lines(
            Text(
                "Restarts in an hour",
                "How often the gate started a process again. Three in 15 minutes raise an alert.",
                units.Short,
            ),
            Query('increase(inspector_process_restarts_total{station=~"$station"}[1h])', "{{station}} {{process}}"),
        ),
        number(
            Text(
                "Heartbeat age",
                "Since the gate's loop last turned, when Prometheus asked. Above 10 s raises an alert.",
                units.Seconds,
                1,
            ),
            Query(
                'timestamp(inspector_heartbeat_timestamp_seconds{station=~"$station"})'
                ' - inspector_heartbeat_timestamp_seconds{station=~"$station"}',
                "{{station}}",
            ),
            colours=steps((None, "green"), (2, "yellow"), (10, "red")),
            none="stopped",
            width=6,
        ),
        number(
            Text("Running for", "Since the daemon was started.", units.Seconds, 0),
            Query(f'(time() - process_start_time_seconds{{job="inspector"}}) {_OF_STATION}', "{{station}}"),
            none="stopped",
            width=6,
        ),
        listing(
            Text("Programs", "Stations and the version of the program that runs there.", units.NoUnit),
            Query('inspector_build_info{station=~"$station"}'),
            width=12,
        ),
    ]
    queues: list[AnyPanel] = [
        lines(
            Text(
                "Frames that wait",
                "Frames in front of the worker, and how many may be; one more is refused.",
                units.Short,
            ),
            Query('inspector_queue_frames{station=~"$station"}', "{{station}} waiting"),
            Query('inspector_queue_capacity_frames{station=~"$station"}', "{{station}} room"),
            width=8,
        ),
        lines(
            Text(
                "Frames by transport",
                "What carries the pixels to the worker. ZeroMQ copies them; shared memory does not.",
                units.CountsPerSecond,
            ),
            Query(
                'rate(inspector_carried_frames_total{station=~"$station"}[$__rate_interval])',
                "{{station}} {{carrier}}",
            ),
            width=8,
        ),
        lines(
            Text(
                "Messages out of order",
                "In an hour: results that came after their part was settled, triggers announced twice, messages that "
                "could not be read, and frames that the worker kept too long. A few after a restart are normal.",
                units.Short,
            ),
            Query('increase(inspector_stray_results_total{station=~"$station"}[1h])', "{{station}} stray results"),
            Query(
                'increase(inspector_duplicate_triggers_total{station=~"$station"}[1h])', "{{station}} triggers twice"
            ),
            Query(
                'sum by (station) (increase(inspector_malformed_messages_total{station=~"$station"}[1h]))',
                "{{station}} unreadable",
            ),
            Query('increase(inspector_expired_leases_total{station=~"$station"}[1h])', "{{station}} kept too long"),
            width=8,
        ),
    ]
    camera: list[AnyPanel] = [
        lines(
            Text("Triggers and frames", "Triggers a second, and what became of their frames.", units.CountsPerSecond),
            Query('rate(inspector_triggers_total{station=~"$station"}[$__rate_interval])', "{{station}} triggers"),
            Query(
                'sum by (station, outcome) (rate(inspector_frames_total{station=~"$station"}[$__rate_interval]))',
                "{{station}} {{outcome}}",
            ),
        ),
        lines(
            Text(
                "Damaged and missing frames",
                "Frames an hour that came incomplete, corrupt, in the wrong size, or never: cable, switch, camera.",
                units.Short,
            ),
            Query(
                'sum by (station, cause) (increase(inspector_parts_total{station=~"$station",'
                'cause=~"frame_.*|camera_lost"}[1h]))',
                "{{station}} {{cause}}",
            ),
        ),
        lines(
            Text(
                "Camera events",
                "What happened to the camera in an hour, parts or not: frames that came twice (repeated), found no "
                "buffer (underrun), were left out (id_gap), came too late (late); triggers that it could not take "
                "(overtrigger); starts after it was lost (retry).",
                units.Short,
            ),
            Query(
                'sum by (station, event) (increase(inspector_camera_events_total{station=~"$station"}[1h]))',
                "{{station}} {{event}}",
            ),
        ),
        lines(
            Text(
                "Clock of a remote camera",
                "By so much the triggers of a camera at another machine may be taken to be earlier than they were. A "
                "millisecond or two as a rule; more takes time from the deadline: the network between them is busy.",
                units.Seconds,
            ),
            Query('inspector_camera_clock_error_seconds{station=~"$station"}', "{{station}}"),
        ),
    ]
    gate: list[AnyPanel] = [
        lines(
            Text("Memory of the gate", "Resident memory. It must be flat over weeks.", units.BytesIEC, None),
            Query(f'process_resident_memory_bytes{{job="inspector"}} {_OF_STATION}', "{{station}}"),
            width=8,
        ),
        lines(
            Text("Descriptors of the gate", "Open files and sockets. It must be flat over weeks.", units.Short),
            Query(f'process_open_fds{{job="inspector"}} {_OF_STATION}', "{{station}}"),
            width=8,
        ),
        lines(
            Text("Verdicts missing in the log", "Since the start: records that the disk did not take.", units.Short),
            Query('inspector_log_records_dropped_total{station=~"$station"}', "{{station}}"),
            width=8,
        ),
    ]
    archive: list[AnyPanel] = [
        lines(
            Text(
                "Archive entries",
                "Pictures an hour: written; failed (disk full, read-only or gone); overrun (disk too slow); refused "
                "(the archive process was not there); unmatched (no verdict came, a few at a restart).",
                units.Short,
            ),
            Query(
                'sum by (station, outcome) (increase(inspector_archive_entries_total{station=~"$station"}[1h]))',
                "{{station}} {{outcome}}",
            ),
            width=8,
        ),
        lines(
            Text(
                "Size of the archive",
                "Its files, and the quota that they are kept below.",
                units.BytesIEC,
            ),
            Query('inspector_archive_size_bytes{station=~"$station"}', "{{station}}"),
            Query('inspector_archive_quota_bytes{station=~"$station"}', "{{station}} quota"),
            width=8,
        ),
        lines(
            Text(
                "Oldest picture",
                "How far back the archive reaches. Where bytes are short it is less than the quota's days.",
                units.Seconds,
            ),
            Query('inspector_archive_oldest_age_seconds{station=~"$station"}', "{{station}}"),
            width=8,
        ),
    ]
    refinement: list[AnyPanel] = [
        lines(
            Text(
                "Outlines",
                "Fails an hour by what their refinement came to: refined; failed (the entry says why); lost (the frame "
                "is gone, or the disk took no outlines).",
                units.Short,
            ),
            Query(
                'sum by (station, outcome) (increase(inspector_refinements_total{station=~"$station"}[1h]))',
                "{{station}} {{outcome}}",
            ),
            width=8,
        ),
        lines(
            Text(
                "Fails without outlines",
                "The refiner's backlog. If it only grows, the machine is too busy for so many fails.",
                units.Short,
            ),
            Query('inspector_refiner_queue_entries{station=~"$station"}', "{{station}}"),
            width=8,
        ),
        states(
            Text("Refiner", "Running or not. Nothing but outlines depends on it.", units.NoUnit),
            Query('inspector_refiner_up{station=~"$station"}', "{{station}}"),
            width=8,
        ),
    ]
    judged_by_both = 'sum by (station) (increase(inspector_shadow_parts_total{station=~"$station"}[1h]))'
    shadow: list[AnyPanel] = [
        lines(
            Text(
                "Line and shadow disagree",
                "Shares of the parts of an hour that both have judged: what only the shadow recipe would reject, and "
                "what only the line rejects.",
                units.PercentUnit,
            ),
            Query(
                'sum by (station) (increase(inspector_shadow_parts_total{station=~"$station",line="pass",'
                f'shadow!="pass"}}[1h])) / {judged_by_both}',
                "{{station}} shadow alone rejects",
            ),
            Query(
                'sum by (station) (increase(inspector_shadow_parts_total{station=~"$station",line="fail",'
                f'shadow="pass"}}[1h])) / {judged_by_both}',
                "{{station}} line alone rejects",
            ),
            width=8,
        ),
        lines(
            Text(
                "Parts that were compared",
                "Parts a second that both have judged, and frames that the shadow process had no room for.",
                units.CountsPerSecond,
            ),
            Query(
                'sum by (station) (rate(inspector_shadow_parts_total{station=~"$station"}[$__rate_interval]))',
                "{{station}} compared",
            ),
            Query(
                'rate(inspector_shadow_skipped_frames_total{station=~"$station"}[$__rate_interval])',
                "{{station}} skipped",
            ),
            width=8,
        ),
        states(
            Text("Shadow process", "Running or not. No verdict depends on it.", units.NoUnit),
            Query('inspector_shadow_up{station=~"$station"}', "{{station}}"),
            width=8,
        ),
        listing(
            Text("Shadow recipe", "What judges beside the line, and acts on nothing.", units.NoUnit),
            Query('inspector_shadow_recipe_info{station=~"$station"}'),
        ),
    ]
    machine: list[AnyPanel] = [
        lines(
            Text("Disk", "Free share of each file system.", units.PercentUnit),
            Query(
                'node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660|vfat"}'
                ' / node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660|vfat"}',
                "{{instance}} {{mountpoint}}",
            ),
            limit=steps((None, "red"), (0.1, "transparent")),
            width=8,
        ),
        lines(
            Text("Processor", "Busy share of all cores. Above four fifths latency grows.", units.PercentUnit),
            Query(
                '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', "{{instance}}"
            ),
            width=8,
        ),
        lines(
            Text(
                "Packets lost by the network card",
                "Received packets a second that were dropped: incomplete GigE frames.",
                units.CountsPerSecond,
            ),
            Query('rate(node_network_receive_drop_total{device!="lo"}[$__rate_interval])', "{{instance}} {{device}}"),
            width=8,
        ),
    ]
    gpu: list[AnyPanel] = [
        lines(
            Text("GPU temperature", "Above 85 °C raises an alert.", units.Celsius),
            Query("DCGM_FI_DEV_GPU_TEMP", "{{instance}} {{gpu}}"),
            limit=steps((None, "transparent"), (85, "red")),
            width=8,
        ),
        lines(
            Text("GPU memory", "Used share.", units.PercentUnit),
            Query("DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)", "{{instance}} {{gpu}}"),
            width=8,
        ),
        lines(
            Text("GPU busy", "Share of time in which a kernel ran.", units.Percent),
            Query("DCGM_FI_DEV_GPU_UTIL", "{{instance}} {{gpu}}"),
            width=8,
        ),
    ]
    return (
        ("Processes", processes),
        ("Queues and messages", queues),
        ("Camera", camera),
        ("Gate and records", gate),
        ("Archive (where one is configured)", archive),
        ("Outlines of defects (where refine is configured)", refinement),
        ("Shadow recipe (where one is configured)", shadow),
        ("Machine (where node_exporter runs)", machine),
        ("GPU (where dcgm-exporter runs)", gpu),
    )
