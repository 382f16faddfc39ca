"""Which good parts train the mapping, which set the threshold, which check the result. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.domain.errors import DataError

#: Folds where a hold-out would be too small to promise what is asked for.
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


def split_parts(parts: int, *, folds: int | None, calibration_share: float, needed: int, seed: int) -> Split:
    """Splits good parts at random.

    Args:
        parts: Number of good parts.
        folds: 0 for a hold-out, 2 and more for cross-fitting. None takes the hold-out, whose promise is a theorem, as
            soon as it has `needed` parts for the threshold, and 5 folds below, where every part counts twice.
        calibration_share: Share of the parts that set the threshold with a hold-out.
        needed: Scores that the threshold needs to promise the target, see `calibration.threshold.parts_needed`.
        seed: Seed of the shuffle.

    Raises:
        DataError: Too few parts, or a number of folds that can't be.

    >>> split = split_parts(20, folds=3, calibration_share=0.4, needed=598, seed=0)
    >>> len(split.rounds), len(split.final), len(split.validation)
    (3, 18, 2)
    """
    if parts < FEWEST:
        raise DataError(f"{parts} good parts are too few to calibrate on; take at least {FEWEST}, better 60 and more")
    if not 0 < calibration_share < 1:
        raise DataError(f"the share of the parts for the threshold lies between 0 and 1, not at {calibration_share:g}")
    if folds is None:
        folds = 0 if threshold_parts(parts, 0, calibration_share) >= needed else FOLDS
    order = np.random.default_rng(seed).permutation(parts).tolist()
    reserved = _reserved(parts)
    validation, rest = order[:reserved], order[reserved:]
    if folds == 0:
        count = threshold_parts(parts, 0, calibration_share)
        if not 2 <= count <= len(rest) - 2:
            raise DataError(
                f"a calibration share of {calibration_share:g} leaves no parts for the mapping or the threshold"
            )
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


def threshold_parts(parts: int, folds: int, calibration_share: float) -> int:
    """How many of the good parts set the threshold.

    >>> threshold_parts(320, 5, 0.4), threshold_parts(320, 0, 0.4)
    (288, 115)
    """
    rest = parts - _reserved(parts)
    return rest if folds else round(rest * calibration_share)


def parts_for(needed: int, folds: int, calibration_share: float) -> int:
    """The fewest good parts in all of which so many set the threshold.

    >>> parts_for(598, 5, 0.4), parts_for(598, 0, 0.4)
    (664, 1659)
    """
    low, high = 0, max(1, needed)
    while threshold_parts(high, folds, calibration_share) < needed:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if threshold_parts(middle, folds, calibration_share) < needed:
            low = middle
        else:
            high = middle
    return high


def _reserved(parts: int) -> int:
    return max(2, parts // 10)
