"""What numbers the products of large matrices multiply on a CPU: float32, or bfloat16, which has 8 bits of the 24.

There are the recurrence's own products, which the native kernel rounds in tile registers where a processor has them,
and all others, which go through torch (oneDNN).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from cellgate.kernel.built import rounds

Numbers = Literal["auto", "float32", "bfloat16"]
_SETTING = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch puts it there as it is imported
_layers_round = False


def layers_round() -> bool:
    """Whether the native kernel is to round now."""
    return _layers_round


def torch_rounds() -> bool:
    """Whether products that go through torch are of bfloat16 now."""
    return bool(_SETTING.fp32_precision == "bf16")


@contextmanager
def multiplying(numbers: Numbers, *, alike: bool = True) -> Iterator[None]:
    """Round the factors of float32 products to bfloat16, or not; sums are of float32 either way.

    "auto" rounds where the CPU has instructions for it; elsewhere it would take longer. So it would through torch where
    sizes are not `alike` from step to step, since each new size is compiled anew.
    """
    global _layers_round  # as torch's own setting is
    before = _layers_round, _SETTING.fp32_precision
    torch_has = torch.cpu.get_capabilities().get("avx512_bf16", False)
    _layers_round = rounds() and numbers != "float32"
    if numbers == "bfloat16" or (numbers == "auto" and torch_has and alike):
        _SETTING.fp32_precision = "bf16"
    try:
        yield
    finally:
        _layers_round, _SETTING.fp32_precision = before
