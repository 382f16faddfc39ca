"""The training loop: both backbones on the same generated batches, resumable from its checkpoint."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from calibration.pretraining.crops import Batch, make_batch
from calibration.pretraining.programs import Bank, make_programs
from calibration.pretraining.task import Losses, Task
from inspector.domain.errors import DataError
from inspector.models.bundled import build_bundled, bundled_names

logger = logging.getLogger(__name__)

_OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Recipe:
    """What decides the result of a training run.

    Attributes:
        steps: Optimiser steps.
        scenes: Scenes per step; each is seen twice.
        side_px: Height and width of the crops, a multiple of 16.
        programs: Number of picture programs.
        per_program: Pictures of each program kept in the bank at a time.
        bank_side_px: Height and width of the bank's pictures.
        renew: Pictures of the bank drawn anew per step, on average.
        learning_rate: Peak of AdamW.
        weight_decay: Of AdamW, decoupled.
        decay_share: Share of the steps at the end over which the learning rate falls to zero.
        seed: Of programs, pictures, crops and weights.
    """

    steps: int = 10_000
    scenes: int = 32
    side_px: int = 96
    programs: int = 512
    per_program: int = 6
    bank_side_px: int = 144
    renew: float = 1.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    decay_share: float = 0.35
    seed: int = 888


def learning_rate(recipe: Recipe, step: int) -> float:
    """Warm-up over 200 steps, a plateau, then a linear fall to zero.

    >>> recipe = Recipe(steps=1000, learning_rate=1.0, decay_share=0.5)
    >>> [learning_rate(recipe, s) for s in (99, 400, 750)]
    [0.5, 1.0, 0.5]
    """
    warm = min(1.0, (step + 1) / 200)
    left = (recipe.steps - step) / max(1.0, recipe.decay_share * recipe.steps)
    return recipe.learning_rate * min(warm, left, 1.0)


class Trainer:
    """Both tasks, their optimiser and the source of batches.

    Args:
        recipe: What to train.
        device: Where; on "cuda" the networks run in bfloat16.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe, self.device, self.step = recipe, device, 0
        torch.manual_seed(recipe.seed)
        tasks = {name: Task(build_bundled(name), recipe.programs) for name in bundled_names()}
        self.tasks = nn.ModuleDict(tasks).to(device).to(memory_format=torch.channels_last)
        decayed = [p for p in self.tasks.parameters() if p.ndim > 1]
        plain = [p for p in self.tasks.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)

    def run(self, until: int) -> Iterator[dict[str, Losses]]:
        """Trains up to step `until` and yields the losses of each backbone at every step."""
        recipe = self.recipe
        programs = make_programs(recipe.programs, recipe.seed, self.device)
        # a resumed run draws other pictures and crops than the interrupted one would have
        bank = Bank(programs, recipe.per_program, recipe.bank_side_px, recipe.seed + 1 + self.step)
        logger.info("bank of %d pictures drawn", len(bank.pictures))
        generator = torch.Generator(self.device).manual_seed(recipe.seed + 2 + self.step)
        every = max(1, round(16 / recipe.renew)) if recipe.renew > 0 else 0
        places = torch.Generator(self.device).manual_seed(recipe.seed + 3 + self.step)

        def compose(step: int) -> Batch:
            if every and step % every == every - 1:
                bank.renew(16)
            return make_batch(bank, recipe.scenes, recipe.side_px, generator)

        # one batch is composed ahead, in another thread: torch releases the interpreter while it computes
        with ThreadPoolExecutor(1, thread_name_prefix="compose") as composer:
            ahead = composer.submit(compose, self.step)
            while self.step < until:
                batch, ahead = ahead.result(), composer.submit(compose, self.step + 1)
                losses = self._optimise(batch, places)
                self.step += 1
                yield losses

    def _optimise(self, batch: Batch, places: torch.Generator) -> dict[str, Losses]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        losses = {}
        self.optimizer.zero_grad(set_to_none=True)
        for name, task in self.tasks.items():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                losses[name] = task(batch, places)
            losses[name].total.backward()
            nn.utils.clip_grad_norm_(task.parameters(), 2.0)
        self.optimizer.step()
        return losses

    def save(self, file: Path) -> None:
        """Writes the checkpoint: networks, heads, optimiser, step and recipe, as safetensors."""
        tensors = {key: value.contiguous() for key, value in self.tasks.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"{_OPTIMIZER}{index}.{key}"] = value.contiguous()
        partial = file.with_suffix(".partial")
        save_file(tensors, partial, {"step": str(self.step), "recipe": json.dumps(asdict(self.recipe))})
        partial.replace(file)

    def resume(self, file: Path) -> None:
        """Goes on from a checkpoint; steps, rates and batch sizes may differ from the recipe it was written with.

        Raises:
            DataError: If it is of other architectures or of another number of programs.
        """
        tensors = load_file(file, device=str(self.device))
        state: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in tensors if key.startswith(_OPTIMIZER)]:
            index, name = key.removeprefix(_OPTIMIZER).split(".")
            state.setdefault(int(index), {})[name] = tensors.pop(key)
        try:
            self.tasks.load_state_dict(tensors)
        except RuntimeError as error:
            raise DataError(f"{file} is a checkpoint of another recipe: {error}; start in an empty folder") from error
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        with safe_open(file, "pt") as opened:
            self.step = int(opened.metadata()["step"])


def backbone_weights(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """State dict of one backbone out of a checkpoint, float32.

    Raises:
        DataError: If the file has no such backbone.
    """
    prefix = f"{name}.backbone."
    tensors = {k.removeprefix(prefix): v for k, v in load_file(checkpoint).items() if k.startswith(prefix)}
    if not tensors:
        raise DataError(f"{checkpoint} holds no backbone {name}; give a checkpoint that `train` wrote")
    return tensors


def export(checkpoint: Path, folder: Path) -> list[Path]:
    """Writes each backbone of a checkpoint as ``NAME.safetensors``, float16, as the package ships it.

    Args:
        checkpoint: A file that `train` wrote.
        folder: Where to; made if missing.

    Returns:
        The files written.

    Raises:
        DataError: If the checkpoint has no bundled backbone, or a value is too large for float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in bundled_names():
        tensors = backbone_weights(checkpoint, name)
        # the count of batches seen is not needed for inspection
        halved = {k: v.half().contiguous() for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
        for key, value in halved.items():
            if not value.isfinite().all():
                raise DataError(f"{checkpoint}: {name}.{key} does not fit float16; train with more weight decay")
        file = folder / f"{name}.safetensors"
        save_file(halved, file, {"backbone": name, "licence": "Apache-2.0"})
        files.append(file)
    return files


def train(
    recipe: Recipe, folder: Path, device: torch.device, every: int = 500, report: Callable[[str], None] = print
) -> Path:
    """Trains both backbones, checkpointing into `folder`, going on from its checkpoint if there is one.

    Args:
        recipe: What to train.
        folder: Of ``checkpoint.safetensors`` and its numbered copies ``step-N.safetensors``; made if missing.
        device: "cpu" or "cuda".
        every: Steps between checkpoints.
        report: Takes one line of progress.

    Returns:
        The last checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "checkpoint.safetensors"
    trainer = Trainer(recipe, device)
    if file.exists():
        trainer.resume(file)
        report(f"going on from step {trainer.step}")
    start, first = time.monotonic(), trainer.step
    for losses in trainer.run(recipe.steps):
        step = trainer.step
        if step % 50 == 0 or step == recipe.steps:
            rate = (step - first) * 2 * recipe.scenes / (time.monotonic() - start)
            report(f"step {step} of {recipe.steps}, {rate:.0f} crops/s, " + _summary(losses))
        if step % every == 0 or step == recipe.steps:
            trainer.save(file)
            numbered = folder / f"step-{step}.safetensors"
            save_file({k: v for k, v in load_file(file).items() if ".backbone." in k}, numbered)
    return file


def _summary(losses: dict[str, Losses]) -> str:
    return "; ".join(
        f"{name} loss {float(part.total.detach()):.3f} "
        f"program {float(part.program):.3f} ({float(part.program_accuracy):.1%}) "
        f"defect {float(part.defect):.3f} ({float(part.defect_recall):.1%}) pair {float(part.pair):.3f}"
        for name, part in losses.items()
    )
