"""Heads and losses of the pre-training task, for one backbone.

At each hierarchy, from the unit-norm features that feature mapping works on: name the program of the surface at
this place, name the defect at this place (both by linear classifiers), and keep the features of two
exposures of one scene together where it is intact and apart where one of them is damaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.pretraining.crops import Batch
from calibration.pretraining.defects import DEFECTS
from inspector.models.feature_mapping import unit_norm

#: Places of each crop whose program is asked, per hierarchy, at most.
_PLACES = 36
#: Cosine distance that damage should reach at least.
_MARGIN = 0.4
#: Share of a cell that a defect must fill to be asked for; cells with less of it are left out.
_FILLED = 0.06
_IGNORE = -100


@dataclass(frozen=True)
class Losses:
    """Losses and accuracies of one step, scalars, averaged over the hierarchies."""

    total: Tensor
    program: Tensor
    defect: Tensor
    pair: Tensor
    program_accuracy: Tensor
    defect_recall: Tensor


class LevelHead(nn.Module):
    """Classifiers of one hierarchy.

    Args:
        channels: Channels of its feature map.
        programs: Number of programs; plain paint is one class more.
    """

    def __init__(self, channels: int, programs: int) -> None:
        super().__init__()
        self.programs = nn.Linear(channels, programs + 1)
        nn.init.zeros_(self.programs.weight)
        nn.init.zeros_(self.programs.bias)
        self.defects = nn.Conv2d(channels, len(DEFECTS), kernel_size=1)

    def forward(self, features: Tensor, batch: Batch, generator: torch.Generator) -> Losses:
        """Losses of the unit-norm features (2 B, C, h, w) of the intact, then the damaged views."""
        count, gain = len(batch.program), features.shape[1] ** 0.5
        stride = batch.program.shape[-1] // features.shape[-1]
        program = batch.program[:, stride // 2 :: stride, stride // 2 :: stride]
        damage, defect = _cell_labels(batch.defect, stride)
        program = torch.cat([program, program.masked_fill(damage > 0, _IGNORE)])
        program_loss, accuracy = self._name_programs(features * gain, program, generator)

        answers = self.defects(features * gain)
        wanted = torch.cat([torch.zeros_like(defect), defect])
        weights = torch.ones(len(DEFECTS), device=features.device)
        weights[0] = 0.25
        defect_loss = F.cross_entropy(answers, wanted, weight=weights, ignore_index=_IGNORE)
        found = (answers[count:].argmax(dim=1) == defect) & (defect > 0)
        recall = found.sum() / (defect > 0).sum().clamp_min(1)

        distance = 1 - (features[:count] * features[count:]).sum(dim=1)
        intact = distance[damage == 0].mean()
        apart = F.relu(_MARGIN - distance)[defect > 0]
        pair_loss = intact + (apart.sum() / (defect > 0).sum().clamp_min(1))
        total = program_loss + defect_loss + 2 * pair_loss
        parts = (total, program_loss, defect_loss, pair_loss, accuracy, recall)
        first, *rest = parts
        return Losses(first, *(part.detach() for part in rest))

    def _name_programs(self, features: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        places = labels.shape[-1] ** 2
        pick = torch.randperm(places, generator=generator, device=labels.device)[:_PLACES]
        vectors = features.flatten(2)[:, :, pick].transpose(1, 2).flatten(0, 1)
        wanted = labels.flatten(1)[:, pick].flatten()
        logits = self.programs(vectors)
        asked = wanted != _IGNORE
        accuracy = (logits.argmax(dim=1) == wanted)[asked].float().mean()
        return F.cross_entropy(logits, wanted, ignore_index=_IGNORE), accuracy


def _cell_labels(defect: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Share of each cell that is defective, and its label: the defect, 0, or "don't ask" where it is a trace."""
    share = F.avg_pool2d((defect > 0).float()[:, None], stride)[:, 0]
    label = F.max_pool2d(defect.float()[:, None], stride)[:, 0].long()
    return share, torch.where((share > 0) & (share < _FILLED), _IGNORE, label)


class Task(nn.Module):
    """A backbone with its heads.

    Args:
        backbone: One of the bundled architectures.
        programs: Number of programs.
    """

    def __init__(self, backbone: nn.Module, programs: int) -> None:
        super().__init__()
        self.backbone = backbone
        channels: tuple[int, int, int] = backbone.channels  # type: ignore[assignment]
        self.heads = nn.ModuleList(LevelHead(c, programs) for c in channels)

    def forward(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Losses of a batch, averaged over the three hierarchies."""
        maps = self.backbone(torch.cat([batch.intact, batch.damaged]))
        levels = [head(unit_norm(m.float()), batch, generator) for head, m in zip(self.heads, maps, strict=True)]
        names = Losses.__dataclass_fields__
        return Losses(**{name: torch.stack([getattr(level, name) for level in levels]).mean() for name in names})
