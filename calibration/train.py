"""From a folder of good parts to a recipe: features once, a fitted detector, threshold, soundness, golden frame."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

import inspector
from calibration.checkpoint import Checkpoints
from calibration.datasets import open_dataset
from calibration.detectors.registry import method_named
from calibration.features import FeatureCache, compute_features
from calibration.geometry import geometry_of
from calibration.images import read_image, survey
from calibration.interruption import Interruption
from calibration.plan import Plan
from calibration.refinement.fit import MOST_PARTS, fit_prior
from calibration.scoring import Scorer, make_scorer
from calibration.soundness import Soundness
from calibration.split import Split, parts_for, split_parts
from calibration.threshold import fit_threshold, parts_needed, upper_rate
from calibration.training import Step
from inspector.domain.errors import DataError, EngineError
from inspector.domain.threshold import Threshold
from inspector.models.detector import Detector
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import pack_weights
from inspector.models.tiled import Tiled, core
from inspector.models.weights import LoadedBackbone, load_backbone
from inspector.recipe.manifest import (
    BackboneRecord,
    Geometry,
    Golden,
    Normalisation,
    PriorRecord,
    RecipeManifest,
    ThresholdRecord,
)
from inspector.recipe.store import Recipe, write_recipe

#: Relative difference of the golden score that an engine may show. Measured: below 1e-6 between engines in float32,
#: 4e-4 in float16, 5e-3 in bfloat16, but 1.3e-2 to 2.6e-2 with another way of resizing and more with other faults. So
#: much on every score changes a false-reject rate by about a tenth of itself.
GOLDEN_TOLERANCE = 0.01
#: Seconds between two checkpoints of a training.
_CHECKPOINT_S = 20.0


class Reporter(Protocol):
    """Told how a calibration goes."""

    def say(self, text: str) -> None:
        """A line for people."""

    def features(self, done: int, total: int) -> None:
        """Images through the backbones."""

    def training(self, name: str, number: int, trainings: int, step: Step) -> None:
        """A step of one of the trainings, which count from 1."""

    def scoring(self, name: str, done: int, total: int) -> None:
        """Good parts scored."""


def calibrate(plan: Plan, reporter: Reporter) -> Recipe:
    """Makes a recipe.

    The detector that ships never saw the parts that set its threshold (hold-out), or each part was scored by one that
    did not see it (folds). A former run of the same plan that was stopped is taken up.

    Raises:
        DataError: Images or plan can't be used, or the detector is not sound.
        RecipeError: The recipe's folder exists or can't be written, or the bundled weights are missing.
        EngineError: There is no such device, or its memory is full.
        AlreadyRunning: Another process calibrates the same recipe.
    """
    if os.path.lexists(plan.recipe):
        raise DataError(f"{plan.recipe} exists; recipes are immutable, choose another folder")
    plan = plan.resolved()
    device = _device(plan)
    paths, geometry, ignored = _good_images(plan, reporter)
    split = split_parts(
        len(paths),
        folds=plan.folds,
        calibration_share=plan.calibration_share,
        needed=parts_needed(plan.target_rate, plan.confidence),
        seed=plan.seed,
    )
    backbones = [load_backbone(name, plan.weights, plan.weights_dir) for name in plan.backbones]
    fingerprint = plan.fingerprint(paths, [backbone.sha256 for backbone in backbones], split)
    with Checkpoints(plan.recipe, fingerprint) as checkpoints:
        if checkpoints.resumed:
            reporter.say("taking up the stopped calibration")
        try:
            recipe = _Run(plan, paths, split, geometry, ignored, backbones, checkpoints, reporter, device).make()
        except torch.OutOfMemoryError as error:
            raise EngineError(f"the memory of the {plan.device} device is full; take --device cpu ({error})") from error
        checkpoints.clear()
    return recipe


def _good_images(plan: Plan, reporter: Reporter) -> tuple[list[Path], Geometry, Tensor | None]:
    """The good parts' images, all of them readable, how they come to the network, and what is ignored of them."""
    dataset = open_dataset(plan.data)
    found = survey(dataset.train)
    if found.duplicates:
        reporter.say(
            f"{len(found.duplicates)} of the images are copies of others (first {found.duplicates[0][1].name}); a copy "
            "is no part of its own and makes the promise too good: remove it"
        )
    return [sample.path for sample in dataset.train], *geometry_of(plan, found)


class _Run:
    """One calibration's steps and what they share."""

    def __init__(
        self,
        plan: Plan,
        paths: Sequence[Path],
        split: Split,
        geometry: Geometry,
        ignored: Tensor | None,
        backbones: Sequence[LoadedBackbone],
        checkpoints: Checkpoints,
        reporter: Reporter,
        device: torch.device,
    ) -> None:
        self.plan = plan
        self.paths = paths
        self.split = split
        self.geometry = geometry
        self.ignored = ignored
        self.backbones = backbones
        self.method = method_named(plan.detector)
        self.checkpoints = checkpoints
        self.reporter = reporter
        self.device = device
        self.normalisation = Normalisation()
        self.preprocess = Preprocess(geometry, self.normalisation).to(device)
        self.started = time.monotonic()
        self.steps = 0
        self._made: tuple[Detector, Scorer] | None = None

    def make(self) -> Recipe:
        with compute_features(
            self.paths,
            self._fresh().features,
            self.preprocess,
            device=self.device,
            memory_bytes=self.plan.memory_bytes,
            batch=self.plan.batch,
            scratch=self.plan.scratch,
            progress=lambda done: self.reporter.features(done, len(self.paths)),
        ) as cache:
            if self.split.exact:
                network, scores = self._held_out(cache)
            else:
                scores = self._out_of_fold(cache)
                network = self._trained("final", len(self.split.rounds) + 1, self.split.final, cache)
            parts = (cache.of_images(images) for images in (self.split.final, self.split.validation))
            soundness = self.method.soundness(core(network), cache, *parts)
        if soundness is not None:
            soundness.check(self.plan.residual_limit)
        return self._write(network, scores, self._threshold(scores), soundness)

    def _threshold(self, scores: Tensor) -> Threshold:
        """The threshold; parts that it needs are counted with those that it will not be set by."""
        threshold = fit_threshold(
            scores.numpy(),
            target=self.plan.target_rate,
            confidence=self.plan.confidence,
            exact=self.split.exact,
            seed=self.plan.seed,
        )
        if threshold.parts_needed == 0:
            return threshold
        folds = 0 if self.split.exact else len(self.split.rounds)
        total = parts_for(len(scores) + threshold.parts_needed, folds, self.plan.calibration_share)
        return replace(threshold, parts_needed=total - len(self.paths))

    def _held_out(self, cache: FeatureCache) -> tuple[Detector, Tensor]:
        """The detector that ships, and its scores of good parts that it never saw."""
        (only,) = self.split.rounds
        network = self._trained("final", 1, only.train, cache)
        return network, self._scores("threshold", network, only.scored)

    def _out_of_fold(self, cache: FeatureCache) -> Tensor:
        """Scores of all good parts but the validation's, each from a detector that did not see it."""
        collected = []
        for number, part in enumerate(self.split.rounds, start=1):
            name = f"fold-{number}"
            scores = self.checkpoints.scores(name)
            if scores is not None:
                self.reporter.training(name, number, len(self.split.rounds) + 1, Step(1, 1, ()))
            else:
                scores = self._scores(name, self._trained(name, number, part.train, cache), part.scored)
                self.checkpoints.save_scores(name, scores)
            collected.append(scores)
        return torch.cat(collected)

    def _fresh(self) -> Detector:
        """An unfitted detector, the same at every call: folds differ by their parts alone."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.plan.seed)
            network = self.method.build(self.plan, [side.module for side in self.backbones])
        if self.geometry.tiling is not None:
            network = Tiled(network, self.geometry)
        network.ignored = self.ignored
        return network.to(self.device)

    def _trained(self, name: str, number: int, images: Sequence[int], cache: FeatureCache) -> Detector:
        self._made = None  # an engine of the fold before needs memory that the training wants
        network = self._fresh()
        training = self.method.fit(core(network), cache, cache.of_images(images), self.plan)
        self.steps = training.progress().total
        state = self.checkpoints.load(name)
        if state is not None:
            training.resume(state)
        trainings = 1 if self.split.exact else len(self.split.rounds) + 1
        saved = time.monotonic()

        def report(step: Step) -> None:
            nonlocal saved
            self.reporter.training(name, number, trainings, step)
            if interruption.asked or time.monotonic() - saved > _CHECKPOINT_S:
                self.checkpoints.save(name, training.state())
                saved = time.monotonic()
            if interruption.asked:
                raise KeyboardInterrupt

        with Interruption() as interruption:
            report(training.progress())
            training.run(report)
        self.checkpoints.save(name, training.state())
        return network

    def _scorer(self, network: Detector) -> Scorer:
        """What scores with a detector, kept for the next call: in lower precision an engine is compiled for it."""
        if self._made is None or self._made[0] is not network:
            made = make_scorer(network, self.preprocess, self.plan.precision, device=self.device, batch=self.plan.batch)
            self._made = network, made
        return self._made[1]

    def _scores(self, name: str, network: Detector, images: Sequence[int]) -> Tensor:
        """Scores through the very path of the line: file, preprocessing, network."""
        batch, score = self.plan.batch, self._scorer(network)
        out = []
        for first in range(0, len(images), batch):
            chunk = [self.paths[image] for image in images[first : first + batch]]
            out.append(score([read_image(path) for path in chunk]))
            self.reporter.scoring(name, first + len(chunk), len(images))
        return torch.cat(out)

    def _prior(self, network: Detector) -> tuple[PriorRecord, dict[str, Tensor]] | None:
        """What a refinement of rejects needs to know: scores of parts that the detector never saw, colours of more."""
        if isinstance(network, Tiled):
            return None
        unseen = [*self.split.validation, *(self.split.rounds[0].scored if self.split.exact else ())]
        scored = unseen[:: -(-len(unseen) // MOST_PARTS)]
        seen = self.split.final[: MOST_PARTS - len(scored)]
        prior = fit_prior(
            network,
            map(self._image, scored),
            seen=map(self._image, seen),
            grey=self.geometry.channels == 1,
            normalisation=self.normalisation,
        )
        return PriorRecord(parts=len(scored), colours=len(prior.mixture.weights)), prior.tensors()

    def _image(self, part: int) -> Tensor:
        image: Tensor = self.preprocess(torch.from_numpy(read_image(self.paths[part])).to(self.device))
        return image

    def _write(self, network: Detector, scores: Tensor, threshold: Threshold, soundness: Soundness | None) -> Recipe:
        validation = self._scores("validation", network, self.split.validation)
        rejected = int((validation > threshold.value).sum())
        middle = self.split.validation[int(validation.argsort()[len(validation) // 2])]
        golden = read_image(self.paths[middle])
        prior = self._prior(network)
        if self.plan.precision == "float32":  # such a recipe runs anywhere; its golden score is the CPU's
            cpu = torch.device("cpu")
            network = network.to(cpu)
            score = make_scorer(network, self.preprocess.to(cpu), "float32", device=cpu, batch=1)
        else:
            score = self._scorer(network)
        golden_score = float(score([golden])[0])
        self.reporter.say(threshold.describe())
        manifest = RecipeManifest(
            name=self.plan.name,
            version=self.plan.version,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            geometry=self.geometry,
            normalisation=self.normalisation,
            network=self.method.record(self.plan, [_record(side) for side in self.backbones], core(network)),
            precision=self.plan.precision,
            threshold=ThresholdRecord(**vars(threshold)),
            golden=Golden(score=golden_score, tolerance=GOLDEN_TOLERANCE),
            prior=None if prior is None else prior[0],
            calibration={
                "data": str(self.plan.data.absolute()),
                "good_parts": len(self.paths),
                "threshold_parts": len(scores),
                "folds": 0 if self.split.exact else len(self.split.rounds),
                "validation_parts": len(validation),
                "validation_rejected": rejected,
                "validation_reject_rate_upper": upper_rate(rejected, len(validation), self.plan.confidence),
                **({} if self.plan.schedule is None else {"schedule": self.plan.schedule.name}),
                "steps": self.steps,
                "seed": self.plan.seed,
                "device": str(self.device),
                "seconds": round(time.monotonic() - self.started, 1),
                **({} if soundness is None else soundness.as_record()),
                "software": {
                    "inspector": inspector.__version__,
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                },
            },
        )
        weights = pack_weights(network, scores, torch.from_numpy(golden), {} if prior is None else prior[1])
        return write_recipe(self.plan.recipe, manifest, weights)


def _record(backbone: LoadedBackbone) -> BackboneRecord:
    return BackboneRecord(name=backbone.name, weights=backbone.weights, sha256=backbone.sha256)


def _device(plan: Plan) -> torch.device:
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise EngineError("PyTorch finds no CUDA device; take --device cpu")
    return torch.device(plan.device)
