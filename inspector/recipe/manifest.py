"""What recipe.yaml holds: everything about a recipe but its tensors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from inspector.domain.precision import Precision
from inspector.domain.threshold import Threshold

#: Version of the recipe format that this code reads and writes.
SCHEMA = 1
#: What the name of a recipe looks like.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class Part(BaseModel):
    """A frozen piece of the manifest that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Region(Part):
    """A rectangle of the camera's frame."""

    left: int = Field(ge=0)
    """First column, in pixels."""
    top: int = Field(ge=0)
    """First row, in pixels."""
    width: int = Field(gt=0)
    """Columns, in pixels."""
    height: int = Field(gt=0)
    """Rows, in pixels."""


class Tiling(Part):
    """An image that is inspected in overlapping tiles, all in one batch."""

    width_px: int = Field(ge=32, le=4096)
    """Width of a tile."""
    height_px: int = Field(ge=32, le=4096)
    """Height of a tile."""
    overlap_px: int = Field(ge=0, le=4095)
    """Rows and columns that neighbours share at least."""

    @model_validator(mode="after")
    def _advances(self) -> Tiling:
        if self.overlap_px >= min(self.width_px, self.height_px):
            raise ValueError(f"tiles of {self.width_px}x{self.height_px} px can't overlap by {self.overlap_px} px")
        return self


class Geometry(Part):
    """From the camera's frame to the image that is inspected."""

    width_px: int = Field(ge=32, le=4096)
    """Width of the image; the network's input where there are no tiles."""
    height_px: int = Field(ge=32, le=4096)
    """Height of the image."""
    tiling: Tiling | None = None
    """The network's input is a tile of the image; absent where it is the whole image."""
    region_px: Region | None = None
    """Region of interest in the camera's frame; without it the whole frame."""
    frame_px: tuple[int, int] | None = None
    """Width and height that every frame must have; absent where the calibration's frames differed in size."""
    ignored_px: int = Field(default=0, ge=0)
    """Pixels of the image that are not inspected; which ones, the weights' file says."""
    channels: Literal[1, 3] | None = None
    """Channels that every frame must have; absent where the calibration's frames differed."""

    @model_validator(mode="after")
    def _tiles_fit(self) -> Geometry:
        tiling = self.tiling
        if tiling is not None and (tiling.width_px > self.width_px or tiling.height_px > self.height_px):
            raise ValueError(
                f"tiles of {tiling.width_px}x{tiling.height_px} px are larger than the image of "
                f"{self.width_px}x{self.height_px} px"
            )
        return self

    @property
    def image_px(self) -> tuple[int, int]:
        """Height and width of the image that is inspected."""
        return self.height_px, self.width_px

    @property
    def network_px(self) -> tuple[int, int]:
        """Height and width of the network's input: the image, or a tile of it."""
        return self.image_px if self.tiling is None else (self.tiling.height_px, self.tiling.width_px)


class Normalisation(Part):
    """Mean and deviation subtracted and divided, for pixels in 0 to 1."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of red, green, blue."""
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Deviation of red, green, blue."""


class BackboneRecord(Part):
    """A backbone and the origin of its weights."""

    name: str
    """Name of the architecture."""
    weights: str
    """"bundled", "imagenet" or "random:SEED"."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of the weight file that the calibration read."""


#: Every detector that a recipe can hold.
DetectorName = Literal["mb-pfm", "b-pfm", "pfm", "pefm", "padim", "patchcore", "cflow-ad"]


class PadimRecord(Part):
    """What fixes the tensors of PaDiM."""

    channels: PositiveInt
    """Channels of the features that are kept."""


class PatchCoreRecord(Part):
    """What fixes the tensors of PatchCore."""

    rows: PositiveInt
    """Patches of good parts in the bank."""
    neighbours: NonNegativeInt
    """Entries of the bank that the image score is weighted by; 0 leaves it unweighted."""


class CflowRecord(Part):
    """What fixes the tensors of CFLOW-AD."""

    blocks: PositiveInt
    """Couplings of each flow."""
    condition: int = Field(ge=4, multiple_of=4)
    """Length of the position code."""
    clamp: PositiveFloat
    """Bound of the logarithm of a coupling's scale."""


class NetworkRecord(Part):
    """The network of the recipe."""

    detector: DetectorName = "mb-pfm"
    """Kind of detector."""
    source: BackboneRecord
    """Source backbone, or the only one."""
    target: BackboneRecord | None = None
    """Target backbone of the detectors that map features; the others have none."""
    levels: tuple[int, ...] = Field(min_length=1)
    """Hierarchies in use."""
    latents: tuple[PositiveInt, ...] | None = None
    """Latent width c for each hierarchy in use, of the detectors that map features."""
    position: Literal["none", "add", "concat"] = "none"
    """Position encoding of the features that are mapped."""
    position_base: PositiveFloat = 10000.0
    """Constant of the position encoding."""
    mapped: Literal["raw", "unit"] = "raw"
    """Whether mapped features are normalised to unit length before they are compared."""
    smoothing_px: float = Field(default=0.0, ge=0, le=64)
    """Deviation of the Gaussian filter of the anomaly map of the detectors that map features; 0 for none."""
    padim: PadimRecord | None = None
    """Present for PaDiM alone."""
    patchcore: PatchCoreRecord | None = None
    """Present for PatchCore alone."""
    cflow: CflowRecord | None = None
    """Present for CFLOW-AD alone."""

    @property
    def backbones(self) -> tuple[BackboneRecord, ...]:
        """The one or two backbones, source first."""
        return (self.source,) if self.target is None else (self.source, self.target)

    def describe(self) -> str:
        """The detector and what fixes it but its backbones, for people.

        >>> side = BackboneRecord(name="resnet18", weights="imagenet", sha256="0" * 64)
        >>> NetworkRecord(detector="padim", source=side, levels=(1, 2), padim=PadimRecord(channels=100)).describe()
        'padim, levels 1 2, channels 100'
        """
        facts = [self.detector, "levels " + " ".join(map(str, self.levels))]
        if self.latents is not None:
            facts.append("latents " + " ".join(map(str, self.latents)))
            facts.append(f"position code {self.position}")
            if self.position != "none":
                facts[-1] += f" ({self.position_base:g})"
            facts.append(f"mapped features {self.mapped}")
            if self.smoothing_px > 0:
                facts.append(f"smoothing {self.smoothing_px:g} px")
        own = self.padim or self.patchcore or self.cflow
        if own is not None:
            facts += [f"{name} {value:g}" for name, value in own]
        return ", ".join(facts)

    @model_validator(mode="after")
    def _levels_fit(self) -> NetworkRecord:
        if list(self.levels) != sorted(set(self.levels)) or not set(self.levels) <= {1, 2, 3}:
            raise ValueError(f"levels must be an ascending subset of 1, 2, 3, not {list(self.levels)}")
        if self.latents is not None and len(self.latents) != len(self.levels):
            raise ValueError(f"{len(self.latents)} latents for {len(self.levels)} levels")
        return self

    @model_validator(mode="after")
    def _entries_are_the_detectors(self) -> NetworkRecord:
        own = {"padim": "padim", "patchcore": "patchcore", "cflow-ad": "cflow"}.get(self.detector)
        wanted = {"target", "latents"} if own is None else {own}
        for name in ("target", "latents", "padim", "patchcore", "cflow"):
            present = getattr(self, name) is not None
            if present != (name in wanted):
                raise ValueError(f"{self.detector} {'has no' if present else 'needs'} {name}")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class ThresholdRecord(Part):
    """The threshold and what it promises."""

    value: float
    """A part passes if its score is at most this."""
    method: Literal["tolerance_limit", "extrapolated"]
    """Distribution-free tolerance limit, or extrapolated beyond what the sample can promise."""
    target: float = Field(gt=0, lt=1)
    """False-reject rate that was asked for."""
    promise: float = Field(gt=0, lt=1)
    """False-reject rate that the sample supports at the given confidence."""
    confidence: float = Field(gt=0, lt=1)
    """Confidence of the promise over the draw of the calibration parts."""
    sample_size: int = Field(ge=1)
    """Good parts whose scores set the threshold."""
    exceedances_allowed: int = Field(ge=0)
    """Good parts of the sample that lie above the threshold."""
    exact: bool
    """True for held-out scores; False for out-of-fold scores, for which the promise is approximate."""
    parts_needed: int = Field(ge=0)
    """Further good parts needed until the sample supports the target."""

    @model_validator(mode="after")
    def _decides(self) -> ThresholdRecord:
        Threshold(**self.model_dump())  # the domain's own rules, checked before the line starts
        return self


class Golden(Part):
    """A frame with a known score, computed again before the worker says that it is ready."""

    score: float
    """Score of the tensor golden.frame, computed with the recipe's precision: on the CPU in float32, else where the
    threshold's scores were computed."""
    tolerance: float = Field(gt=0)
    """Largest accepted relative difference."""


class PriorRecord(Part):
    """What the recipe knows of its good parts for the refinement of rejects, in the tensors prior.*."""

    parts: PositiveInt
    """Good parts that it was learnt from."""
    colours: PositiveInt
    """Components of the mixture of colours."""


class RecipeManifest(Part):
    """recipe.yaml."""

    schema_version: int = SCHEMA
    """Version of this format."""
    name: str = Field(pattern=NAME_PATTERN)
    """Name of the recipe."""
    version: int = Field(ge=1)
    """Counts the calibrations of the same name."""
    created: str
    """Time of the calibration, ISO 8601; a label."""
    geometry: Geometry
    """Frame and input size."""
    normalisation: Normalisation = Normalisation()
    """Pixel normalisation."""
    network: NetworkRecord
    """Backbones and mapping."""
    precision: Precision = "float32"
    """Arithmetic that gave the scores behind the threshold; the line must use the same."""
    threshold: ThresholdRecord
    """Threshold and promise."""
    golden: Golden
    """Self-check of the line."""
    prior: PriorRecord | None = None
    """Present where the weights' file holds a prior for refinements; older and tiled recipes have none."""
    calibration: dict[str, Any]
    """Record of the calibration: data, split, schedule, losses, soundness, software."""

    @property
    def random_weights(self) -> bool:
        """True if a backbone has random weights, so that the recipe can't inspect."""
        return any(side.weights.startswith("random:") for side in self.network.backbones)
