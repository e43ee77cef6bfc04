"""What numbers the products of large matrices multiply on a CPU: float32, or their first 8 bits (bfloat16)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Numbers = Literal["auto", "float32", "bfloat16"]
_SETTING = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch puts it there as it is imported


def rounded() -> bool:
    """Whether products are of bfloat16 now."""
    return bool(_SETTING.fp32_precision == "bf16")


@contextmanager
def multiplying(numbers: Numbers) -> Iterator[None]:
    """Round the factors of float32 products to bfloat16, or not; sums are of float32 either way.

    "auto" rounds where the CPU has instructions for it; elsewhere it would take longer.
    """
    before = _SETTING.fp32_precision
    if numbers == "bfloat16" or (numbers == "auto" and torch.cpu.get_capabilities().get("avx512_bf16", False)):
        _SETTING.fp32_precision = "bf16"
    try:
        yield
    finally:
        _SETTING.fp32_precision = before
