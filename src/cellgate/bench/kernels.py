"""One LSTM layer, one direction: ours beside torch, onnxruntime and Keras, and beside the machine's matrix product.

All contestants take turns in one run (`rounds`), on the same input, weights and threads, and their answers are
compared before they are timed. Only real tokens count as work.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellgate.bench import one_token
from cellgate.bench.child import CELLGATE
from cellgate.bench.machine import Record, stamp
from cellgate.bench.neighbour import beside_a_neighbour
from cellgate.bench.peers import Layer, Shape, check_agreement, contestants, drawn
from cellgate.bench.rounds import (
    Call,
    Kept,
    Round,
    checked_threads,
    gathered,
    in_turn,
    repeats_of,
    significant,
    torch_threads,
)
from cellgate.bench.sizes import Sizes
from cellgate.ops import Verdict, backends

SHAPES = (
    Shape(32, 100, 128, 256),
    Shape(64, 50, 512, 512),
    Shape(64, 200, 128, 128),
    Shape(16, 20, 64, 64),
    Shape(32, 30, 300, 256),
)
TOKEN_WIDTHS = (256, 512)  # I = H of one token
PASSES = {"forward": 1, "forward_backward": 3}  # times the work of a forward pass


@dataclass(frozen=True)
class _Case:
    """Calls that take turns, named `forward.ours` and so on, and how many of each make a sample."""

    calls: dict[str, Call]
    repeats: dict[str, int]


def kernels(sizes: Sizes, shapes: Sequence[Shape] = SHAPES, widths: Sequence[int] = TOKEN_WIDTHS) -> Record:
    """Measure, and return the record: medians [ms], ratios to ours, ours as a share of sgemm, geometric means."""
    threads = checked_threads(sizes.threads)
    about = stamp([*CELLGATE, "bench", "kernels", "--threads", str(threads), "--rounds", str(sizes.rounds)])
    layers = {str(shape): drawn(shape) for shape in shapes}
    left_out: dict[str, str] = {}
    cases: dict[str, _Case] = {}
    with torch_threads(threads):
        for name, layer in layers.items():
            cases[name], why = _layer_case(layer, threads)
            left_out |= why
        for width in widths:
            steps, why = one_token.steps(one_token.token(width), threads)
            cases[f"one token, {width}"] = _case(steps)
            left_out |= why
        kept = gathered(lambda place: _round(cases, place), sizes.rounds)
        neighbour = beside_a_neighbour(cases[str(shapes[0])].calls["forward_backward.ours"], sizes.rounds)
    measured = [_told(layer, kept[name]) for name, layer in layers.items()]
    return {
        "bench": "kernels",
        "threads": threads,
        "gomp_spincount": os.environ.get("GOMP_SPINCOUNT", "default"),
        "backends": [verdict._asdict() for verdict in _verdicts(layers[str(shapes[0])])],
        "left_out": left_out,
        "rounds": sizes.rounds,
        "rounds_thrown_away": sum(each.thrown_away for each in kept.values()),
        "rounds_run": sum(each.thrown_away + len(each.rounds) for each in kept.values()),
        "sgemm_gflops": significant(max(value for each in kept.values() for value in _sgemms(each))),
        "geometric_means": _geometric_means(measured),
        "neighbour": neighbour if isinstance(neighbour, dict) else {"refusal": neighbour},
        "shapes": measured,
        "one_token": [_token_told(width, kept[f"one token, {width}"]) for width in widths],
        **about,
    }


def _layer_case(layer: Layer, threads: int) -> tuple[_Case, dict[str, str]]:
    found, left_out = contestants(layer, threads)
    check_agreement(layer, found)
    forward = {f"forward.{name}": each.forward for name, each in found.items()}
    both = {f"forward_backward.{name}": each.both for name, each in found.items() if each.both is not None}
    return _case({**forward, **both}), left_out


def _case(calls: Mapping[str, Call]) -> _Case:
    return _Case(dict(calls), {name: repeats_of(call) for name, call in calls.items()})


def _round(cases: Mapping[str, _Case], place: int) -> dict[str, Round]:
    return {name: in_turn(case.calls, case.repeats, place) for name, case in cases.items()}


def _told(layer: Layer, kept: Kept) -> dict[str, Any]:
    """What a shape's rounds say."""
    return {
        "shape": list(layer.shape),
        "tokens": layer.tokens,
        "backend": next(verdict.backend for verdict in _verdicts(layer) if verdict.serves),
        "rounds_kept": len(kept.rounds),
        "rounds_thrown_away": kept.thrown_away,
        "sgemm_gflops": significant(kept.sgemm),
        **{measure: _measure_told(measure, layer, kept) for measure in PASSES},
    }


def _measure_told(measure: str, layer: Layer, kept: Kept) -> dict[str, Any]:
    prefix = f"{measure}."
    names = [name.removeprefix(prefix) for name in kept.rounds[0].figures if name.startswith(prefix)]
    seconds = {name: kept.median(prefix + name) for name in names}
    gflops = PASSES[measure] * layer.gflop / seconds["ours"]
    return {
        "ms": {name: significant(1e3 * value) for name, value in seconds.items()},
        "over_ours": {name: significant(value / seconds["ours"]) for name, value in seconds.items() if name != "ours"},
        "gflops": significant(gflops),
        "share_of_sgemm": significant(gflops / kept.sgemm),
    }


def _token_told(width: int, kept: Kept) -> dict[str, Any]:
    seconds = {name: kept.median(name) for name in kept.rounds[0].figures}
    return {
        "width": width,
        "rounds_kept": len(kept.rounds),
        "us": {name: significant(1e6 * value) for name, value in seconds.items()},
        "over_ours": {name: significant(value / seconds["ours"]) for name, value in seconds.items() if name != "ours"},
    }


def _geometric_means(measured: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Over the shapes, how many times as long as ours each other takes."""
    return {
        measure: {
            name: significant(statistics.geometric_mean(each[measure]["over_ours"][name] for each in measured))
            for name in measured[0][measure]["over_ours"]
        }
        for measure in PASSES
    }


def _sgemms(kept: Kept) -> list[float]:
    return [value for each in kept.rounds for value in (each.before, each.after)]


def _verdicts(layer: Layer) -> tuple[Verdict, ...]:
    return backends("lstm", layer.x, layer.weights)
