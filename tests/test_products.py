"""ops.products: factors rounded to bfloat16 inside, whole outside."""

import pytest
import torch

from cellgate.ops.products import multiplying, rounded

_LEFT = torch.linspace(-1, 1, 256 * 256, dtype=torch.float64).view(256, 256).sin().float()
_EXACT = (_LEFT.double() @ _LEFT.double().t()).float()


def _error() -> float:
    return float((_LEFT @ _LEFT.t() - _EXACT).abs().max())


def test_products_are_rounded_inside_and_whole_after():
    whole = _error()
    with multiplying("bfloat16"):
        assert rounded()
        inside = _error()
    assert not rounded()
    assert _error() == whole
    if torch.cpu.get_capabilities().get("avx512_bf16", False):  # elsewhere torch may keep float32
        assert 10 * whole < inside < 0.02 * float(_EXACT.abs().max())


def test_float32_is_left_alone():
    with multiplying("float32"):
        assert not rounded()


def test_an_error_inside_leaves_products_whole():
    with pytest.raises(ZeroDivisionError), multiplying("bfloat16"):
        raise ZeroDivisionError
    assert not rounded()
