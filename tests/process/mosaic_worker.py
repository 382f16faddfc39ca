"""As `cuda_double_worker`, for raw Bayer frames alone: it can't read a frame that comes as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cuda_double import HostDevice

from inspector.domain.frame import Frame, Pixels
from inspector.roles import cuda_engine
from inspector.roles.job import run_child
from inspector.roles.worker import work
from inspector.wire.messages import FrameHeader, WireError

_frame = FrameHeader.frame


def raw_frame(header: FrameHeader, values: Pixels) -> Frame:
    if header.pixel_format.red is None:
        raise WireError("a picture")
    return _frame(header, values)


if __name__ == "__main__":
    FrameHeader.frame = raw_frame  # type: ignore[method-assign]
    cuda_engine.CudaDevice = HostDevice  # type: ignore[assignment,misc]
    sys.exit(run_child("worker", work, sys.argv[1:]))
