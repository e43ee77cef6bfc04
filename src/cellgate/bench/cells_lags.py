"""How far back each cell remembers: two invented problems whose answer lies a lag behind, learned at growing lags.

Adding: two numbers of a row are marked, one in either half; the answer is their sum. Hochreiter & Schmidhuber, "Long
short-term memory", Neural Computation 9(8), 1997, section 5.4, with numbers from 0 to 1 and rows of one length, as has
become usual. Copy: symbols, then blanks, then so many calls to repeat the symbols in order, as in Arjovsky, Shah &
Bengio, "Unitary evolution recurrent neural networks", ICML 2016; only the repeated symbols count.

Legend: B rows, T positions, K places that are answered, O numbers of an answer.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from cellgate.bench.machine import Record
from cellgate.bench.rounds import significant
from cellgate.bench.sizes import Sizes
from cellgate.errors import UsageError
from cellgate.fit.process import flushed_denormals
from cellgate.ops import Cell, Inputs, Rows, State, Weights, gru, init_weights, lstm, peephole, rnn

CELLS: dict[Cell, Callable[[Inputs, Weights], tuple[Tensor, State]]] = {
    "rnn": rnn,
    "gru": gru,
    "lstm": lstm,
    "peephole": peephole,
}
HIDDEN = 64
_BATCH_ROWS, _TEST_ROWS = 32, 512
_LEARNING_RATE, _CLIP = 1e-2, 1.0
_LOOK_STEPS = 50  # steps between two looks at the test rows
_SYMBOLS, _COPIED = 8, 4  # of copy: how many there are, how many are to be remembered
_BLANK, _CALL = _SYMBOLS, _SYMBOLS + 1


@dataclass(frozen=True)
class Drawn:
    """Rows of a problem."""

    x: Inputs
    answer: Tensor
    """[B] or [B, K]"""


@dataclass(frozen=True)
class Problem:
    """A problem of any lag; its error is what decides whether it is solved."""

    draw: Callable[[int, int, torch.Generator], Drawn]
    """rows, lag, randomness"""
    inputs: int
    places: int
    """K, the last of T."""
    outputs: int
    """O"""
    loss: Callable[[Tensor, Tensor], Tensor]
    """Of outputs [B, K, O] and the answer."""
    error: Callable[[Tensor, Tensor], Tensor]
    lags: tuple[int, ...]
    solved: float
    """Largest error of a net that solves it."""
    unlearned: float
    """Error of the best answer that does not look at the row."""


def _draw_adding(rows: int, lag: int, random: torch.Generator) -> Drawn:
    numbers = torch.rand(rows, lag, generator=random)
    half = lag // 2
    first = torch.randint(half, (rows, 1), generator=random)
    second = torch.randint(half, lag, (rows, 1), generator=random)
    marks = torch.zeros(rows, lag).scatter_(1, torch.cat([first, second], 1), 1.0)
    return Drawn(torch.stack([numbers, marks], 2), (numbers * marks).sum(1))


def _draw_copy(rows: int, lag: int, random: torch.Generator) -> Drawn:
    symbols = torch.randint(_SYMBOLS, (rows, _COPIED), generator=random)
    blanks, calls = torch.full((rows, lag), _BLANK), torch.full((rows, _COPIED), _CALL)
    return Drawn(Rows(torch.eye(_CALL + 1), torch.cat([symbols, blanks, calls], 1)), symbols)


def _squared_error(outputs: Tensor, answer: Tensor) -> Tensor:
    return F.mse_loss(outputs[:, 0, 0], answer)


def _cross_entropy(outputs: Tensor, answer: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), answer.flatten())


def _wrong(outputs: Tensor, answer: Tensor) -> Tensor:
    return (outputs.argmax(2) != answer).float().mean()


PROBLEMS = {
    "adding": Problem(
        _draw_adding,
        2,
        1,
        1,
        _squared_error,
        _squared_error,
        (10, 25, 50, 100, 200, 400),
        solved=1 / 12,
        unlearned=1 / 6,
    ),
    "copy": Problem(
        _draw_copy,
        _CALL + 1,
        _COPIED,
        _SYMBOLS,
        _cross_entropy,
        _wrong,
        (5, 10, 20, 40, 80),
        solved=0.01,
        unlearned=1 - 1 / _SYMBOLS,
    ),
}


@dataclass(frozen=True)
class Trial:
    """One training at one lag."""

    lag: int
    solved: bool
    steps: int
    """Taken until it was solved, or all."""
    error: float
    """On rows that are not trained on."""
    seconds: float


def measured(name: str, seed: int, sizes: Sizes) -> Record:
    """Let each cell climb the problem's lags up to the longest."""
    problem = PROBLEMS[name]
    lags = [lag for lag in problem.lags if lag <= sizes.longest_lag]
    if not lags:
        raise UsageError(f"longest-lag: expected {problem.lags[0]} or more, {name}'s shortest, got {sizes.longest_lag}")
    return {
        "hidden": HIDDEN,
        "steps": sizes.lag_steps,
        "lags": lags,
        "solved_error": significant(problem.solved),
        "unlearned_error": significant(problem.unlearned),
        "cells": {
            cell: [asdict(trial) for trial in climbed(problem, cell, lags, sizes.lag_steps, seed)] for cell in CELLS
        },
    }


def climbed(problem: Problem, cell: Cell, lags: Sequence[int], steps: int, seed: int) -> list[Trial]:
    """Learn the problem anew at each lag, shortest first, and end with the first that is not solved."""
    trials: list[Trial] = []
    for lag in lags:
        trials.append(_learned(problem, cell, lag, steps, seed))
        if not trials[-1].solved:
            break
    return trials


@flushed_denormals()
def _learned(problem: Problem, cell: Cell, lag: int, steps: int, seed: int) -> Trial:
    """Train for at most so many steps; the same rows come to every cell, and those of the test are others."""
    began = time.perf_counter()
    random = torch.Generator().manual_seed(seed)
    net = _Net(problem, cell, random)
    optimizer = Adam(net.parameters(), lr=_LEARNING_RATE)
    rows = torch.Generator().manual_seed(seed + 1_000_003)
    test = problem.draw(_TEST_ROWS, lag, rows)
    error, taken = float("nan"), 0
    while taken < steps:
        batch = problem.draw(_BATCH_ROWS, lag, rows)
        optimizer.zero_grad()
        torch.autograd.backward(problem.loss(net(batch.x), batch.answer))
        nn.utils.clip_grad_norm_(net.parameters(), _CLIP)
        optimizer.step()
        taken += 1
        if taken % _LOOK_STEPS == 0 or taken == steps:
            with torch.no_grad():
                error = problem.error(net(test.x), test.answer).item()
            if error <= problem.solved:
                break
    seconds = significant(time.perf_counter() - began)
    return Trial(lag, error <= problem.solved, taken, significant(error), seconds)


class _Net(nn.Module):
    """One layer that reads forward, and a linear map of its last outputs."""

    def __init__(self, problem: Problem, cell: Cell, random: torch.Generator) -> None:
        super().__init__()
        self.run, self.places = CELLS[cell], problem.places
        made = init_weights(cell, problem.inputs, HIDDEN, random)
        self.weights = nn.ParameterDict({name: part for name, part in made._asdict().items() if part is not None})
        scale = HIDDEN**-0.5
        self.out = nn.Parameter((2 * torch.rand(problem.outputs, HIDDEN, generator=random) - 1) * scale)
        self.out_b = nn.Parameter(torch.zeros(problem.outputs))

    def forward(self, x: Inputs) -> Tensor:
        """Outputs [B, K, O]."""
        y, _ = self.run(x, Weights(**self.weights))
        return F.linear(y[:, -self.places :], self.out, self.out_b)
