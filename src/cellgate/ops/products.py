"""Products of large matrices on a CPU, in training: by the native kernel, with factors of float32 or bfloat16.

bfloat16 has 8 of float32's 24 bits. Sums are of float32 either way; docs/kernel.md tells more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cellgate.errors import UsageError
from cellgate.kernel.built import missing, rounding_widths

if missing is None:
    from cellgate.kernel import _native

Numbers = Literal["auto", "float32"]
_rounded = False


@contextmanager
def multiplying(numbers: Numbers) -> Iterator[None]:
    """Round the factors of layers and of `linear` inside, where this processor has instructions for it ("auto")."""
    global _rounded
    before, _rounded = _rounded, numbers == "auto" and bool(rounding_widths())
    try:
        yield
    finally:
        _rounded = before


def chosen_width() -> int:
    """Which of the kernel's vector widths is to compute now: the best, or what rounds."""
    return _native.ROUNDING if _rounded else 0


def unread(tensor: Tensor) -> str | None:
    """Why the kernel cannot read a tensor's memory; None where it can."""
    if missing is not None:
        return missing
    if tensor.device.type != "cpu":
        return f"it runs on a CPU, x is on {tensor.device}"
    if tensor.dtype != torch.float32:
        return f"it computes in float32, x is {str(tensor.dtype).removeprefix('torch.')}"
    if torch.is_autocast_enabled("cpu"):
        return "it computes in float32, autocast is on"
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return "it reads memory, x is a tensor of torch.func"
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"it reads memory, x is being traced: {type(tensor).__name__}"
    return None


def product(width: int, threads: int, left: Tensor, right: Tensor, b: Tensor | None = None) -> Tensor:
    """Multiply left [M, K] by right [K, N], both of any strides, and add b [N] -> [M, N]."""
    if width != _native.ROUNDING and not _native.own_products():
        with torch.autocast("cpu", enabled=False):  # backward may be called under it
            return left @ right if b is None else torch.addmm(b, left, right)
    out = left.new_empty(left.shape[0], right.shape[1])
    b = None if b is None else b.contiguous()
    _native.multiply(
        width, threads, len(left), len(right), right.shape[1],
        left.data_ptr(), left.stride(0), left.stride(1), right.data_ptr(), right.stride(0), right.stride(1),
        0 if b is None else b.data_ptr(), out.data_ptr(),
    )  # fmt: skip
    return out


def linear(x: Tensor, weight: Tensor, b: Tensor | None = None) -> Tensor:
    """Multiply x [..., K] by weight [M, K], transposed, and add b [M] -> [..., M]; as torch's, differentiable once."""
    given = [x, weight] if b is None else [x, weight, b]
    agree = x.shape[-1:] == weight.shape[1:] and (b is None or b.shape == weight.shape[:1])
    if not agree or any(unread(each) for each in given):
        return F.linear(x, weight, b)
    rows = x.reshape(-1, x.shape[-1])
    if torch.is_grad_enabled() and any(each.requires_grad for each in given):
        y: Tensor = _Linear.apply(rows, weight, b)  # type: ignore[no-untyped-call]
    else:
        y = product(chosen_width(), torch.get_num_threads(), rows, weight.t(), b)
    return y.view(*x.shape[:-1], len(weight))


class _Linear(torch.autograd.Function):
    """x, weight, b -> y; backward rounds as forward did, wherever it is asked for."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  torch's object, its attributes are ours
        x: Tensor,
        weight: Tensor,
        b: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.width, ctx.threads, ctx.has_b = chosen_width(), torch.get_num_threads(), b is not None
        return product(ctx.width, ctx.threads, x, weight.t(), b)

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  torch's object again
        if torch.is_grad_enabled():  # create_graph=True
            raise UsageError(
                "the native kernel's products have no gradients of gradients; use torch.nn.functional.linear"
            )
        x, weight = ctx.saved_tensors
        d_x = product(ctx.width, ctx.threads, d_y, weight) if ctx.needs_input_grad[0] else None
        d_weight = product(ctx.width, ctx.threads, d_y.t(), x) if ctx.needs_input_grad[1] else None
        return d_x, d_weight, d_y.sum(0) if ctx.has_b else None
