"""From a folder of good parts to a recipe: features once, mappings, threshold, soundness, golden frame."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

import inspector
from calibration.checkpoint import Checkpoints
from calibration.datasets import open_dataset
from calibration.images import read_image, survey
from calibration.features import FeatureCache, compute_features, load_batch
from calibration.plan import Plan
from calibration.split import Split, split_parts
from calibration.threshold import fit_threshold, upper_rate
from calibration.training import Step, Training, residuals
from inspector.domain.errors import DataError, FatalError
from inspector.domain.threshold import Threshold
from inspector.models.network import FeaturePair, InspectionNetwork, MappingPyramid, build_network
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import pack_weights
from inspector.models.weights import LoadedBackbone, load_backbone
from inspector.recipe.manifest import (
    BackboneRecord,
    Geometry,
    Golden,
    NetworkRecord,
    Normalisation,
    RecipeManifest,
    ThresholdRecord,
)
from inspector.recipe.store import Recipe, write_recipe

#: Relative difference of the golden score that an engine in the same precision may show.
GOLDEN_TOLERANCE = 0.01
#: Seconds between two checkpoints of a training.
_CHECKPOINT_S = 20.0


class Reporter(Protocol):
    """Told how a calibration goes."""

    def say(self, text: str) -> None:
        """A line for people."""

    def features(self, done: int, total: int) -> None:
        """Images through the backbones."""

    def training(self, name: str, step: Step) -> None:
        """A step of a training."""

    def scoring(self, name: str, done: int, total: int) -> None:
        """Good parts scored."""


def calibrate(plan: Plan, reporter: Reporter) -> Recipe:
    """Makes a recipe.

    The mapping that ships never saw the parts that set its threshold (hold-out), or each part was scored by a
    mapping that did not see it (folds). A former run of the same plan that was stopped is taken up.

    Raises:
        DataError: Images or plan can't be used, or the mapping is not sound.
        RecipeError: The recipe's folder exists or can't be written.
    """
    if plan.recipe.exists():
        raise DataError(f"{plan.recipe} exists; recipes are immutable, choose another folder")
    plan = plan.resolved()
    device = _device(plan)
    dataset = open_dataset(plan.data)
    paths = [sample.path for sample in dataset.train]
    found = survey(dataset.train)
    if found.duplicates:
        reporter.say(
            f"{len(found.duplicates)} images stand there twice (first {found.duplicates[0][1].name}); they are no parts "
            "of their own and make the promise too good: remove them"
        )
    split = split_parts(
        len(paths), folds=plan.folds, calibration_share=plan.calibration_share, seed=plan.seed
    )
    geometry = Geometry(
        width_px=plan.size_px[1],
        height_px=plan.size_px[0],
        frame_px=found.frame_px,
        channels={1: 1, 3: 3, None: None}[found.frame_channels],
    )
    source, target = (
        load_backbone(name, plan.weights, plan.weights_dir) for name in (plan.source, plan.target)
    )
    checkpoints = Checkpoints(plan.recipe, plan.fingerprint(paths))
    if checkpoints.resumed:
        reporter.say("taking up the stopped calibration")
    run = _Run(plan, paths, split, geometry, source, target, checkpoints, reporter, device)
    recipe = run.make()
    checkpoints.clear()
    return recipe


class _Run:
    """One calibration's steps and what they share."""

    def __init__(
        self,
        plan: Plan,
        paths: Sequence[Path],
        split: Split,
        geometry: Geometry,
        source: LoadedBackbone,
        target: LoadedBackbone,
        checkpoints: Checkpoints,
        reporter: Reporter,
        device: torch.device,
    ) -> None:
        self.plan = plan
        self.paths = paths
        self.split = split
        self.geometry = geometry
        self.source = source
        self.target = target
        self.checkpoints = checkpoints
        self.reporter = reporter
        self.device = device
        self.normalisation = Normalisation()
        self.preprocess = Preprocess(geometry, self.normalisation).to(device)
        self.started = time.monotonic()

    def make(self) -> Recipe:
        features = FeaturePair(self.source.module, self.target.module, self.plan.levels).to(self.device)
        with compute_features(
            self.paths,
            features,
            self.preprocess,
            device=self.device,
            memory_bytes=self.plan.memory_bytes,
            batch=self.plan.batch,
            scratch=self.plan.scratch,
            progress=lambda done: self.reporter.features(done, len(self.paths)),
        ) as cache:
            scores, network = self._rounds(cache)
            threshold = fit_threshold(
                scores.numpy(),
                target=self.plan.target_rate,
                confidence=self.plan.confidence,
                exact=self.split.exact,
                seed=self.plan.seed,
            )
            if not self.split.exact:
                network = self._trained("final", self.split.final, cache)
            soundness = self._soundness(network, cache)
        return self._write(network, scores, threshold, soundness)

    def _rounds(self, cache: FeatureCache) -> tuple[Tensor, InspectionNetwork]:
        """Scores of good parts that the respective mapping never saw, and the last round's network."""
        collected = []
        network: InspectionNetwork | None = None
        for number, part in enumerate(self.split.rounds, start=1):
            name = "mapping" if self.split.exact else f"fold-{number}"
            scores = self.checkpoints.scores(name)
            if scores is None or self.split.exact:
                network = self._trained(name, part.train, cache)
            if scores is None:
                assert network is not None
                scores = self._scores(name, network, part.scored)
                self.checkpoints.save_scores(name, scores)
            collected.append(scores)
        if network is None:
            network = self._fresh("final")
        return torch.cat(collected), network

    def _fresh(self, name: str) -> InspectionNetwork:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            # A function of seed and round, so that a resumed calibration initialises alike.
            torch.manual_seed(self.plan.seed * 1000 + sum(name.encode()))
            return build_network(
                self.source.module,
                self.target.module,
                latents=self.plan.latents or (),
                levels=self.plan.levels,
                position=self.plan.position,
                input_px=self.plan.size_px,
            ).to(self.device)

    def _trained(self, name: str, images: Sequence[int], cache: FeatureCache) -> InspectionNetwork:
        network = self._fresh(name)
        training = Training(network.mapping, cache, images, self.plan.schedule, self.plan.seed)
        state = self.checkpoints.load(name)
        if state is not None:
            training.resume(state)
        saved = time.monotonic()

        def report(step: Step) -> None:
            nonlocal saved
            self.reporter.training(name, step)
            if time.monotonic() - saved > _CHECKPOINT_S:
                self.checkpoints.save(name, training.state())
                saved = time.monotonic()

        try:
            training.run(report)
        finally:  # Ctrl-C included
            self.checkpoints.save(name, training.state())
        return network

    def _scores(self, name: str, network: InspectionNetwork, images: Sequence[int]) -> Tensor:
        """Scores through the very path of the line: file, preprocessing, network."""
        out = []
        for first in range(0, len(images), self.plan.batch):
            chunk = [self.paths[image] for image in images[first : first + self.plan.batch]]
            with torch.inference_mode():
                out.append(network(load_batch(chunk, self.preprocess, self.device)).scores.double().cpu())
            self.reporter.scoring(name, first + len(chunk), len(images))
        return torch.cat(out)

    def _soundness(self, network: InspectionNetwork, cache: FeatureCache) -> dict[str, Any]:
        """Refuses a mapping whose eval-mode residual on unseen good parts is out of proportion."""
        trained = self._train_mode_residuals(network.mapping, cache)
        held_out = residuals(network.mapping, cache, self.split.validation)
        ratios = [held / max(train, 1e-12) for held, train in zip(held_out, trained, strict=True)]
        if not all(np.isfinite(ratios)) or max(ratios) > self.plan.residual_limit:
            worst = int(np.argmax(np.nan_to_num(ratios, nan=np.inf)))
            raise DataError(
                f"the mapping of level {self.plan.levels[worst]} is not sound: its residual on held-out good parts is "
                f"{ratios[worst]:.2f} times that in training (at most {self.plan.residual_limit:g}). Add good parts, "
                "or take another --seed or --schedule; --residual-limit moves the bound"
            )
        return {
            "residual_training": [float(value) for value in trained],
            "residual_held_out": [float(value) for value in held_out],
            "residual_ratio": [round(float(ratio), 4) for ratio in ratios],
        }

    def _train_mode_residuals(self, mapping: MappingPyramid, cache: FeatureCache) -> tuple[float, ...]:
        """Loss over training parts with batch statistics, as the optimiser saw it; statistics stay as they are."""
        state = {name: value.clone() for name, value in mapping.state_dict().items()}
        out = residuals(mapping, cache, self.split.final, train_mode=True)
        mapping.load_state_dict(state)
        mapping.eval()
        return out

    def _write(
        self, network: InspectionNetwork, scores: Tensor, threshold: Threshold, soundness: dict[str, Any]
    ) -> Recipe:
        validation = self._scores("validation", network, self.split.validation)
        rejected = int((validation > threshold.value).sum())
        middle = self.split.validation[int(validation.argsort()[len(validation) // 2])]
        golden = torch.from_numpy(read_image(self.paths[middle]))
        network, preprocess = network.to("cpu"), self.preprocess.to("cpu")
        with torch.inference_mode():
            golden_score = float(network(preprocess(golden)).scores[0])
        self.reporter.say(threshold.describe())
        manifest = RecipeManifest(
            name=self.plan.name,
            version=self.plan.version,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            geometry=self.geometry,
            normalisation=self.normalisation,
            network=self._network_record(),
            threshold=ThresholdRecord(**vars(threshold)),
            golden=Golden(score=golden_score, tolerance=GOLDEN_TOLERANCE),
            calibration={
                "data": str(self.plan.data.absolute()),
                "good_parts": len(self.paths),
                "threshold_parts": len(scores),
                "folds": 0 if self.split.exact else len(self.split.rounds),
                "validation_parts": len(validation),
                "validation_rejected": rejected,
                "validation_reject_rate_upper": upper_rate(rejected, len(validation), self.plan.confidence),
                "schedule": self.plan.schedule.name,
                "steps": self.plan.schedule.total_steps(len(self.split.final)),
                "seed": self.plan.seed,
                "device": str(self.device),
                "seconds": round(time.monotonic() - self.started, 1),
                **soundness,
                "software": {
                    "inspector": inspector.__version__,
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                },
            },
        )
        return write_recipe(self.plan.recipe, manifest, pack_weights(network, scores, golden))

    def _network_record(self) -> NetworkRecord:
        sides = [
            BackboneRecord(name=side.name, weights=side.weights, sha256=side.sha256)
            for side in (self.source, self.target)
        ]
        return NetworkRecord(
            source=sides[0],
            target=sides[1],
            levels=self.plan.levels,
            latents=self.plan.latents or (),
            position=self.plan.position,
        )


def _device(plan: Plan) -> torch.device:
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise FatalError("PyTorch finds no CUDA device; take --device cpu")
    return torch.device(plan.device)
