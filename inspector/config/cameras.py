"""Configuration of the cameras: one frozen model for each kind, told apart by `kind`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from inspector.config.strict import Strict


class FolderCamera(Strict):
    """Plays the images of a folder in the order of their paths, subfolders included."""

    kind: Literal["folder"]
    path: Path
    """Folder with .png, .jpg, .jpeg, .bmp, .tif, .tiff or .webp images."""
    rate: float | None = Field(default=None, gt=0)
    """Triggers a second; without it a part is taken whenever the worker has room for one."""
    loop: bool = False
    """Begin again at the end instead of ending."""
    watch: bool = False
    """A hot folder: files that come while the line runs are parts, in the order of their arrival; those that lie
    there at the start are none."""
    complete_after_s: float = Field(default=0.2, gt=0, le=60)
    """With `watch`: a file that has not changed for so long is complete."""

    @model_validator(mode="after")
    def _one_way(self) -> FolderCamera:
        if self.watch and (self.rate is not None or self.loop):
            raise ValueError("watch takes files as they come; remove rate and loop")
        return self


class VideoCamera(Strict):
    """Anything that OpenCV opens: a video file, a V4L2 device, an RTSP stream."""

    kind: Literal["video"]
    source: str
    """A file, a device such as /dev/video0, or a URL such as rtsp://camera/stream."""
    rate: float | None = Field(default=None, gt=0)
    """For files: triggers a second (default: the file's own rate). For live sources: must be absent."""
    loop: bool = False
    """For files: begin again at the end instead of ending."""
    read_timeout_s: float = Field(default=5.0, gt=0)
    """A live source that delivers nothing for so long is lost."""


class SyntheticCamera(Strict):
    """A seeded conveyor that renders parts, some with labelled defects."""

    kind: Literal["synthetic"]
    seed: int = Field(default=1, ge=0)
    """The same seed renders the same parts in the same order."""
    parts: int | None = Field(default=None, gt=0)
    """End after so many parts; without it the conveyor runs on."""
    rate: float | None = Field(default=None, gt=0)
    """Triggers a second; without it a part is taken whenever the worker has room for one."""
    defect_ratio: float = Field(default=0.1, ge=0, le=1)
    """Share of parts with a defect."""
    defect_scale: float = Field(default=1.0, ge=1, le=4)
    """Size of the defects: 1 for those that a careful person just sees, 2 for plain ones."""
    width_px: int = Field(default=384, ge=64, le=8192)
    """Width of the rendered frame."""
    height_px: int = Field(default=384, ge=64, le=8192)
    """Height of the rendered frame."""
    colour: bool = False
    """Render RGB instead of grey."""


class Feature(Strict):
    """One GenICam feature to set before the acquisition starts."""

    name: str
    """Name of the node, for example ExposureTime."""
    value: bool | int | float | str
    """Value to write; for a command node, true executes it."""


class MissedTriggers(Strict):
    """Where a camera counts the triggers that came while it could not take them: no frame and no id tells of them.

    Either `node` or `chunk`.
    """

    node: str | None = None
    """Integer node that counts missed triggers and only grows, for example CounterValue; `features` must leave its
    selector where it counts."""
    chunk: str | None = None
    """Integer chunk with which each frame brings a count of all pulses of the trigger's line, for example
    ChunkCounterValue; `features` must set counter and chunk up."""
    check_s: float = Field(default=0.25, gt=0, le=10)
    """The node is read so often, while no frame waits where there is a choice; with GigE Vision a reading takes a
    millisecond."""
    skip_ids: bool = False
    """True where the camera also leaves out a frame id for each that the node counts, so that none is counted
    twice."""

    @model_validator(mode="after")
    def _one_counter(self) -> MissedTriggers:
        if (self.node is None) == (self.chunk is None):
            raise ValueError(
                "give one of node (a counter of missed triggers) and chunk (a count of pulses with each frame)"
            )
        if self.chunk is not None and self.skip_ids:
            raise ValueError("skip_ids is for node; with chunk a missing id and a missing pulse are one, so remove it")
        return self


class GenicamCamera(Strict):
    """A GenICam camera through a GenTL producer (.cti file)."""

    kind: Literal["genicam"]
    producers: tuple[Path, ...] = ()
    """GenTL producer files; without any, those found through GENICAM_GENTL64_PATH."""
    serial: str | None = None
    """Choose the camera by its serial number."""
    user_id: str | None = None
    """Choose the camera by its user-defined name."""
    model: str | None = None
    """Choose the camera by its model name."""
    index: int | None = Field(default=None, ge=0)
    """Choose the camera by its place in the list; the least stable choice."""
    features_file: Path | None = None
    """Feature file (.pfs: name, tab, value), as `inspector cameras save` or the maker's viewer wrote it; loaded
    before `features`."""
    features: tuple[Feature, ...] = ()
    """Features written in this order before the start, and read back."""
    software_trigger_rate: float | None = Field(default=None, gt=0)
    """Execute TriggerSoftware so often a second: for a camera with TriggerMode On and TriggerSource Software. A
    frame must arrive before the next trigger is fired."""
    missed_triggers: MissedTriggers | None = None
    """For hardware triggers: each one that the camera could not take is a part that was not inspected."""
    buffers: int = Field(default=16, ge=2, le=512)
    """Buffers announced to the producer."""
    lost_after_s: float = Field(default=5.0, gt=0)
    """A free-running camera that delivers nothing for so long is lost; a triggered one is asked for its
    access status instead."""
    check_features_s: float | None = Field(default=10.0, gt=0)
    """So often the features are read again while the line runs; a camera that changed one is opened anew and set up
    again. null never looks."""
    free_running: bool = False
    """True where frames come without a trigger, so that silence means the camera is lost."""

    @model_validator(mode="after")
    def _told_once(self) -> GenicamCamera:
        if self.missed_triggers is not None and self.software_trigger_rate is not None:
            raise ValueError(
                "missed_triggers is for hardware triggers; a software trigger without a frame is told anyway, so "
                "remove it"
            )
        return self


class RemoteCamera(Strict):
    """A camera at another machine, where `inspector camera` runs and serves it to this station alone."""

    kind: Literal["remote"]
    connect: str = Field(pattern=r"^tcp://[^\s/]+:\d{1,5}$")
    """Where it listens, such as tcp://192.168.10.7:5562."""
    server_key: Path
    """File with the public key of that machine (NAME.key)."""
    secret_key: Path
    """File with this station's secret key; its public key must be in the clients folder there."""
    lost_after_s: float = Field(default=2.0, ge=0.5, le=60)
    """After so long without a sign of life the camera counts as lost, and is looked for again."""
    window_frames: int = Field(default=8, ge=1, le=1024)
    """Frames that may be on their way; a trigger beyond is a part without a frame."""


CameraConfig = Annotated[
    FolderCamera | VideoCamera | SyntheticCamera | GenicamCamera | RemoteCamera, Field(discriminator="kind")
]
"""Any of the cameras, chosen by `kind`."""
