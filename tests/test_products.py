"""ops.products: factors rounded to bfloat16 inside, whole outside."""

import pytest
import torch

from cellgate.errors import UsageError
from cellgate.kernel import missing, rounding_widths, widths
from cellgate.ops import Rows, State, Weights, lstm, peephole, rnn
from cellgate.ops.products import Numbers, linear, multiplying, product

_LEFT = torch.linspace(-1, 1, 256 * 256, dtype=torch.float64).view(256, 256).sin().float()
_EXACT = (_LEFT.double() @ _LEFT.double().t()).float()


def _error() -> float:
    return float((linear(_LEFT, _LEFT) - _EXACT).abs().max())


def test_products_are_rounded_inside_and_whole_after():
    whole = _error()
    with multiplying("auto"):
        inside = _error()
        with multiplying("float32"):
            assert _error() == whole
        assert _error() == inside
    assert _error() == whole
    if rounding_widths():
        assert 10 * whole < inside < 0.02 * float(_EXACT.abs().max())
    else:
        assert inside == whole


def test_an_error_inside_leaves_products_whole():
    whole = _error()
    with pytest.raises(ZeroDivisionError), multiplying("auto"):
        raise ZeroDivisionError
    assert _error() == whole


@pytest.mark.parametrize("own", [True, False])
def test_product_of_any_strides(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellgate.kernel._native.own_products", lambda: own)
    torch.manual_seed(0)
    x, w_x, b = torch.randn(500, 70), torch.randn(130, 70), torch.randn(130)
    wide = torch.randn(500, 3 * 130)[:, ::3]
    for width in range(len(widths())):
        for left, right, bias in ((x, w_x.t(), b), (wide, w_x, None), (wide.t(), x, None), (x[:, :1], x.t()[:1], None)):
            exact = left.double() @ right.double() + (0 if bias is None else bias)
            torch.testing.assert_close(product(width, 3, left, right, bias).double(), exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("numbers", "atol"), [("float32", 1e-5), ("auto", 0.1)])
@pytest.mark.parametrize("shape", [(7, 30), (3, 5, 30), (30,), (0, 30), (200, 70)])
@pytest.mark.parametrize("has_b", [True, False])
def test_linear_is_torchs(shape: tuple[int, ...], has_b: bool, numbers: Numbers, atol: float):
    torch.manual_seed(0)
    x = torch.randn(*shape[:-1], 2 * shape[-1])[..., ::2].requires_grad_()
    weight, b = torch.randn(110, shape[-1], requires_grad=True), torch.randn(110, requires_grad=True)
    parts = [x, weight, b] if has_b else [x, weight]
    with multiplying(numbers):
        y = linear(*parts)
    wanted = torch.nn.functional.linear(*parts)
    torch.testing.assert_close(y, wanted, rtol=atol, atol=atol)
    slopes = torch.randn_like(y)
    for given in (slopes, torch.ones(()).expand_as(y)):  # a gradient of strides 0, as `sum` gives it
        ours, theirs = (
            torch.autograd.grad(y, parts, given, retain_graph=True),
            torch.autograd.grad(wanted, parts, given, retain_graph=True),
        )
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=atol, atol=atol * max(1, len(y)) ** 0.5)


@pytest.mark.skipif(not rounding_widths(), reason="this processor has no bfloat16")
def test_gradients_of_linear_are_rounded_as_it_was():
    x, weight, slopes = torch.rand(40, 50), torch.rand(60, 50, requires_grad=True), torch.rand(40, 60)
    with multiplying("auto"):
        y = linear(x, weight)
    (found,) = torch.autograd.grad(y, [weight], slopes)
    exact = slopes.bfloat16().double().t() @ x.bfloat16().double()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_linear_of_other_widths_or_numbers_is_left_to_torch():
    x, weight = torch.randn(2, 3), torch.randn(4, 3)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        linear(x, weight[:, :2])
    with pytest.raises(RuntimeError):
        linear(x, weight, torch.randn(3))
    assert linear(x.double(), weight.double()).dtype == torch.float64


@pytest.mark.skipif(missing is not None, reason="the native kernel is not built")
def test_linear_has_no_gradients_of_gradients():
    x, weight = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    with pytest.raises(UsageError, match=r"use torch\.nn\.functional\.linear"):
        torch.autograd.grad(linear(x, weight).sin().sum(), x, create_graph=True)


@pytest.mark.skipif(not rounding_widths(), reason="this processor has no bfloat16")
@pytest.mark.parametrize(("door", "gates"), [(lstm, 4), (rnn, 1), (peephole, 4)])
def test_a_step_is_that_of_rounded_weights_and_a_rounded_state(door, gates):
    torch.manual_seed(0)
    sizes = {"w_x": (gates * 50, 7), "w_h": (gates * 50, 50), "b": (gates * 50,)}
    weights = {name: torch.randn(size, requires_grad=True) for name, size in sizes.items()}
    if door is peephole:
        weights["p"] = torch.randn(3, 50)
    has_memory = door in (lstm, peephole)
    h, c, x = torch.randn(3, 50), torch.randn(3, 50) if has_memory else None, torch.randn(3, 1, 7)
    with multiplying("auto"):
        got, _ = door(x, Weights(**weights), State(h, c), backend="native")
    rounded_weights = weights | {"w_h": weights["w_h"].bfloat16().float()}
    wanted, _ = door(x, Weights(**rounded_weights), State(h.bfloat16().float(), c), backend="reference")
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    whole, _ = door(x, Weights(**weights), State(h, c), backend="native")
    assert 1e-4 < (got - whole).abs().max() < 0.2


@pytest.mark.skipif(not rounding_widths(), reason="this processor has no bfloat16")
def test_gradients_are_near_those_of_whole_factors_and_asked_for_outside_are_rounded_too():
    """A call's backward does as its forward did, wherever it is asked for."""
    torch.manual_seed(0)
    x, index = torch.randn(9, 20, requires_grad=True), torch.randint(0, 9, (20, 30))
    weights = Weights(*(torch.randn(size, requires_grad=True) for size in ((4 * 40, 20), (4 * 40, 40), (4 * 40,))))
    state, lengths = State(torch.zeros(20, 40), torch.zeros(20, 40)), torch.arange(11, 31)
    found = {}
    for numbers in ("float32", "auto"):
        with multiplying(numbers):
            y, _ = lstm(Rows(x, index), weights._replace(w_h=weights.w_h * 0.1), state, lengths)
        found[numbers] = torch.autograd.grad(y.sin().sum(), [x, weights.w_x, weights.w_h, weights.b])
    for whole, rough in zip(found["float32"], found["auto"], strict=True):
        difference = (whole - rough).norm() / whole.norm()
        assert 1e-4 < difference < 0.03
