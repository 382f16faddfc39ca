"""Which good parts train the mapping, which set the threshold, which check the result. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.domain.errors import DataError

#: Below so many good parts the threshold rests on out-of-fold scores: a hold-out would promise too little.
FEW_PARTS = 500
#: Folds used then.
FOLDS = 5
#: Fewest good parts that a calibration accepts.
FEWEST = 10


@dataclass(frozen=True)
class Round:
    """One training and the parts that it never sees.

    Attributes:
        train: Indices of the parts that the mapping learns from.
        scored: Indices of the parts that it then scores for the threshold.
    """

    train: tuple[int, ...]
    scored: tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """All good parts, each used for one purpose at a time.

    Attributes:
        rounds: Trainings whose scores set the threshold: one for a hold-out, one for each fold otherwise.
        final: Parts that the shipped mapping learns from; those of the only round for a hold-out.
        validation: Parts that neither mapping nor threshold ever see.
    """

    rounds: tuple[Round, ...]
    final: tuple[int, ...]
    validation: tuple[int, ...]

    @property
    def exact(self) -> bool:
        """True for a hold-out: the shipped mapping itself gave the scores."""
        return len(self.rounds) == 1


def split_parts(parts: int, *, folds: int | None, calibration_share: float, seed: int) -> Split:
    """Splits good parts at random.

    Args:
        parts: Number of good parts.
        folds: 0 for a hold-out, 2 and more for cross-fitting; None chooses by the number of parts.
        calibration_share: Share of the parts that set the threshold with a hold-out.
        seed: Seed of the shuffle.

    Raises:
        DataError: Too few parts, or a number of folds that can't be.

    >>> split = split_parts(20, folds=3, calibration_share=0.4, seed=0)
    >>> len(split.rounds), len(split.final), len(split.validation)
    (3, 18, 2)
    """
    if parts < FEWEST:
        raise DataError(f"{parts} good parts are too few to calibrate on; take at least {FEWEST}, better 60 and more")
    if folds is None:
        folds = FOLDS if parts < FEW_PARTS else 0
    order = np.random.default_rng(seed).permutation(parts).tolist()
    reserved = max(2, parts // 10)
    validation, rest = order[:reserved], order[reserved:]
    if folds == 0:
        count = round(len(rest) * calibration_share)
        if not 2 <= count <= len(rest) - 2:
            raise DataError(f"a calibration share of {calibration_share:g} leaves no parts for the mapping or the threshold")
        only = Round(tuple(rest[count:]), tuple(rest[:count]))
        return Split((only,), only.train, tuple(validation))
    if not 2 <= folds <= len(rest):
        raise DataError(f"{folds} folds of {len(rest)} parts can't be made; take 0 for a hold-out, or 2 to {len(rest)}")
    rounds = []
    for fold in range(folds):
        scored = rest[fold::folds]
        held = set(scored)
        rounds.append(Round(tuple(part for part in rest if part not in held), tuple(scored)))
    return Split(tuple(rounds), tuple(rest), tuple(validation))
