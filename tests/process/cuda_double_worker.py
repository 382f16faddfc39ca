"""The daemon's own worker, whose CUDA device is the double of the tests: for machines without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cuda_double import HostDevice

from inspector.roles import cuda_engine
from inspector.roles.job import run_child
from inspector.roles.worker import work

if __name__ == "__main__":
    cuda_engine.CudaDevice = HostDevice  # type: ignore[assignment,misc]
    sys.exit(run_child("worker", work, sys.argv[1:]))
