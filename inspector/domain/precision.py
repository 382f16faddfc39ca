"""In which arithmetic a network computes: a recipe's threshold holds for one, and the line must use the same."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "bfloat16", "float16"]
