"""Every exposure is one part, whatever became of its frame and however late the frames are taken."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inspector.cameras.genicam_losses import Losses
from inspector.cameras.genicam_missed import Reconciled
from inspector.cameras.genicam_pulses import PulseCounter
from inspector.domain.camera_events import CameraEvent

from .conftest import PulseNodes

LOST = "a frame lost"


def book(buffers: int = 2, gige: bool = False, pulses: bool = False, skip_ids: bool = False) -> Losses:
    return Losses(
        "left",
        gige=gige,
        buffers=buffers,
        witnesses=Reconciled() if skip_ids else None,
        pulses=PulseCounter(PulseNodes(), "ChunkCounterValue") if pulses else None,
    )


def told(losses: Losses) -> list[str]:
    return list(iter(losses.tell, None))


def before(losses: Losses, frame_id: int | None, underruns: int = 0) -> int:
    """A frame comes; so many frames were lost before it."""
    losses.frame(frame_id, underruns)
    assert losses.untold == (losses._missing > 0)
    labels = told(losses)
    assert set(labels) <= {LOST}
    assert not losses.untold
    return len(labels)


def test_burst_that_begins_with_the_first_frame_is_counted_once() -> None:
    """Frames 1 and 2 fill the buffers, 3 to 12 find none, and only then is frame 1 taken.

    Its reader sees ten frames without a buffer and no id before it; these ten once were told with frame 1, and again
    by the gap before frame 13.
    """
    losses = book(buffers=2)
    assert [before(losses, frame_id, underruns=10) for frame_id in (1, 2, 13, 14)] == [0, 0, 10, 0]
    assert losses.events == {CameraEvent.UNDERRUN: 10, CameraEvent.ID_GAP: 10}


def test_ids_that_never_count_on_leave_it_to_the_underruns(caplog: pytest.LogCaptureFixture) -> None:
    losses = book()
    assert [before(losses, 0, underruns) for underruns in (3, 3, 5, 5)] == [0, 3, 2, 0]
    assert losses.events == {CameraEvent.UNDERRUN: 5, CameraEvent.ID_GAP: 0}
    assert caplog.text.count("frame ids do not count on") == 1


def test_without_ids_the_underruns_tell_at_once() -> None:
    losses = book()
    assert [before(losses, None, underruns) for underruns in (3, 3, 5)] == [3, 0, 2]


def test_ids_that_begin_anew_hide_no_loss_and_repeat_none() -> None:
    """Four frames found no buffer. A gap tells of one, one lay before the new beginning, and two lie after it."""
    losses = book(buffers=3)
    assert before(losses, 40) == 0
    assert before(losses, 41, underruns=1) == 0
    assert before(losses, 43, underruns=4) == 1
    assert before(losses, 1, underruns=4) == 3
    assert [before(losses, frame_id, underruns=4) for frame_id in (4, 5, 6)] == [0, 0, 0]
    assert before(losses, 8, underruns=4) == 1  # lost on its way, long after


def test_what_was_told_early_hides_no_gap_for_longer_than_frames_can_wait() -> None:
    """Both buffers hold incomplete frames, two find none, and the first frame with an id comes after them all."""
    losses = book(buffers=2)
    losses.incomplete()
    losses.incomplete()
    assert before(losses, 5, underruns=2) == 2
    assert [before(losses, frame_id, underruns=2) for frame_id in (6, 7, 9)] == [0, 0, 1]


def test_frames_without_an_id_and_incomplete_ones_are_no_gap() -> None:
    losses = book()
    assert before(losses, 1) == 0
    losses.incomplete()
    assert before(losses, None) == 0
    assert before(losses, None) == 0
    assert before(losses, 6) == 1


def test_frame_that_comes_again_is_told_from_an_id_that_stands_still() -> None:
    losses = book()
    assert not losses.repeated(0)
    assert before(losses, 0) == 0
    assert not losses.repeated(0)  # the ids have not counted on so far
    assert before(losses, 0) == 0
    assert before(losses, 1) == 0
    assert losses.repeated(1)
    assert not losses.repeated(None)
    assert losses.events[CameraEvent.REPEATED] == 1


def test_missed_triggers_are_told_apart_from_lost_frames() -> None:
    losses = book(skip_ids=True)
    losses.missed(2)
    assert losses.untold
    assert told(losses) == ["a trigger that the camera could not take"] * 2
    assert losses.events[CameraEvent.OVERTRIGGER] == 2


class Camera:
    """A camera with buffers, what happens to its frames, and a reader that takes them now and then.

    Args:
        losses: The book that is told what the reader sees.
        buffers: Theirs.
        begin: The first id.
        wrap: The id after which `after` comes, None for ids without an end.
        after: 0, or 1 where 0 is skipped.
        ids: Frames have ids.
        counts: Frames bring the count of pulses.
    """

    def __init__(
        self, losses: Losses, buffers: int, begin: int, wrap: int | None, after: int, *, ids: bool, counts: bool
    ) -> None:
        self.losses = losses
        self.exposures = self.underruns = self.lost = self.parts = 0
        self._buffers = buffers
        self._id = begin
        self._wrap = wrap
        self._after = after
        self._ids = ids
        self._counts = counts
        self._waiting: deque[tuple[str, int | None, int]] = deque()

    def expose(self, fate: str) -> None:
        """One part passes."""
        self.exposures += 1
        frame_id, self._id = self._id, self._after if self._id == self._wrap else self._id + 1
        full = len(self._waiting) == self._buffers
        if full:
            self.underruns += fate != "lost"
        elif fate != "lost":
            self._waiting.append((fate, frame_id if self._ids and fate != "without id" else None, self.exposures))
            if fate == "twice" and len(self._waiting) < self._buffers:
                self._waiting.append(self._waiting[-1])
        self.lost += full or fate == "lost"

    def take(self) -> None:
        """The reader takes a frame, if one waits, out of its buffer, and makes parts of what it sees."""
        if not self._waiting:
            return
        fate, frame_id, pulses = self._waiting.popleft()
        if fate == "incomplete":
            self.losses.incomplete()
            self.parts += 1
        elif not self.losses.repeated(frame_id):
            self.losses.frame(frame_id, self.underruns, pulses if self._counts else None)
            self.parts += 1 + len(told(self.losses))
        assert self.parts <= self.exposures, "a part that nobody has exposed"


FATES = ["whole", "whole", "whole", "lost", "incomplete", "twice", "without id"]
WRAPS: dict[str, tuple[int | None, int]] = {"gige": (65535, 1), "16 bits": (65535, 0), "without end": (None, 0)}


@given(
    st.lists(st.sampled_from([*FATES, "take", "take", "take", "take"]), max_size=60),
    st.integers(1, 4),
    st.sampled_from(sorted(WRAPS)),
    st.sampled_from([1, 65520, 65535]),
    st.sampled_from(["ids", "ids and pulses", "pulses", "underruns"]),
)
@example(["whole"] * 12 + ["take"] * 2 + ["whole"], 2, "gige", 65530, "ids")
@example(["take", "twice", "take", "without id", *["whole"] * 5, "take", "take", "take"], 2, "gige", 65530, "ids")
def test_each_exposure_is_one_part(happenings: list[str], buffers: int, wraps: str, begin: int, witness: str) -> None:
    """Lost on the way, without a buffer, incomplete, twice, without id: over the wrap of the ids, taken at any time."""
    wrap, after = WRAPS[wraps]
    losses = book(buffers, gige=wraps == "gige", pulses="pulses" in witness)
    camera = Camera(losses, buffers, begin, wrap, after, ids="ids" in witness, counts="pulses" in witness)
    camera.expose("whole")  # whether a frame was lost before the first, nobody can tell
    unseen: set[str] = {"pulses": {"twice"}, "underruns": {"twice", "lost"}}.get(witness, set())
    if witness == "ids and pulses" and "without id" in happenings:
        unseen = {"twice"}  # the ids begin anew after such a frame, and have to count on before one can be repeated
    for happening in happenings:
        if happening == "take":
            camera.take()
        elif happening not in unseen:
            camera.expose(happening)
    while camera._waiting:
        camera.take()
    for _ in range(2):  # the next frame tells of those before it
        camera.expose("whole")
        camera.take()
    assert camera.parts == camera.exposures
    assert losses.events[CameraEvent.UNDERRUN] == camera.underruns
    if witness == "ids" and "without id" not in happenings:
        assert losses.events[CameraEvent.ID_GAP] == camera.lost
