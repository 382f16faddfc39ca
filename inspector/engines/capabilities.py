"""What the processor can do; without torch, so that any process may ask."""

from __future__ import annotations

import openvino as ov


def cpu_has_bfloat16() -> bool:
    """True if the CPU computes in bfloat16 by itself (AVX-512 BF16, AMX, or Arm's equivalent)."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
