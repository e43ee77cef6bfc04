"""Language models: training beside the same net in plain torch, and how quickly a Bundle writes.

Tokens are invented, by Zipf's law: what a step takes does not depend on what they say. All train the same layers with
tied vectors; ours drops and penalises as it does by default, torch's only between layers, as nn.LSTM offers. Over words
ours draws a sample of them for its softmax, as it does by default; torch's takes them all. Ours is trained twice, with
the numbers that `fit` multiplies by default (bfloat16 where the processor has it) and with float32, as torch's is.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cellgate.bench.child import CELLGATE
from cellgate.bench.machine import Record, stamp
from cellgate.bench.rounds import Kept, Round, checked_threads, gathered, sgemm_gflops, significant, torch_threads
from cellgate.bench.sizes import Sizes
from cellgate.bundle import Precision, open_bundle
from cellgate.config import TrainConfig, WriterConfig
from cellgate.fit.process import flushed_denormals, keep_freed_memory
from cellgate.fit.rowwise import RowwiseAdamW
from cellgate.language import Language, Length
from cellgate.nets import Writer
from cellgate.ops.products import Numbers, multiplying
from cellgate.sampling import Sampling
from cellgate.training import train

_LANES, _STEP = 32, 64
_BLOCK = 2  # steps in a row
_WRITTEN = 1_000  # characters of a sample
_CLIP, _RATE = 0.5, 1e-3


@dataclass(frozen=True, slots=True)
class _Case:
    """A vocabulary, and the net over it."""

    vocabulary: int
    net: WriterConfig


CASES = {
    "characters": _Case(65, WriterConfig()),
    "words": _Case(33_278, WriterConfig(layers=1)),
}


def generate(sizes: Sizes) -> Record:
    """Measure, and return the record: tokens a second of each training, and characters a second written."""
    threads = checked_threads(sizes.threads)
    command = ["bench", "generate", "--threads", str(threads), "--rounds", str(sizes.rounds)]
    about = stamp([*CELLGATE, *command])
    keep_freed_memory()
    with torch_threads(threads):
        kept = {name: _rates(name, case, sizes.rounds) for name, case in CASES.items()}
    return {
        "bench": "generate",
        "threads": threads,
        "rounds": sizes.rounds,
        "training": {name: _told(each) for name, each in kept.items()},
        "writing": _writing(sizes.rounds),
        **about,
    }


def _told(kept: Kept) -> Record:
    rates = {name: kept.median(name) for name in kept.rounds[0].figures}
    return {
        **{f"{name}_tokens_per_second": round(rate) for name, rate in rates.items()},
        "ours_is_faster": significant(rates["ours"] / rates["torch"]),
        "rounds_kept": len(kept.rounds),
        "rounds_thrown_away": kept.thrown_away,
        "sgemm_gflops": significant(kept.sgemm),
    }


def _rates(name: str, case: _Case, rounds: int) -> Kept:
    """Let them take turns on the same tokens."""
    torch.manual_seed(0)
    chances = 1 / torch.arange(3.0, case.vocabulary + 3)
    contestants: dict[str, _Contestant] = {
        "ours": _Ours(case, "auto"),
        "ours_float32": _Ours(case, "float32"),
        "torch": _Plain(case),
    }

    def block() -> list[Tensor]:
        drawn = torch.multinomial(chances, _BLOCK * _LANES * (_STEP + 1), replacement=True)
        return list(drawn.view(_BLOCK, _LANES, _STEP + 1))

    for contestant in contestants.values():
        contestant.take(block())  # what is built once is built before anything is timed

    def measure(place: int) -> Mapping[str, Round]:
        steps = block()
        shift = place % len(contestants)
        names = [*contestants][shift:] + [*contestants][:shift]
        before = sgemm_gflops()
        taken: dict[str, float] = {}
        for each in names:
            began = time.perf_counter()
            contestants[each].take(steps)
            taken[each] = _BLOCK * _LANES * _STEP / (time.perf_counter() - began)
        return {name: Round(before, sgemm_gflops(), taken)}

    return gathered(measure, rounds)[name]


class _Contestant(Protocol):
    """Takes training steps."""

    def take(self, steps: list[Tensor]) -> None:
        """Take a step a window [lanes, tokens + 1], each from the state of the one before."""


class _Ours:
    """Steps as `fit` takes them."""

    def __init__(self, case: _Case, numbers: Numbers) -> None:
        self.numbers = numbers
        counts = [1_000_000 // (place + 3) for place in range(case.vocabulary)]
        self.net = Writer(case.net, counts).train()
        self.optimizer = RowwiseAdamW(self.net.parameter_groups(TrainConfig()), self.net.tables)
        self.state: dict[str, Tensor] = {}

    @flushed_denormals()
    def take(self, steps: list[Tensor]) -> None:
        """As a contestant."""
        for window in steps:
            inputs = {"tokens": window[:, :-1].contiguous(), "lengths": torch.full((_LANES,), _STEP)}
            with multiplying(self.numbers):
                with self.optimizer.reading():
                    loss, after = self.net.continued(inputs, {"next": window[:, 1:].contiguous()}, self.state)
                torch.autograd.backward(loss)
            self.optimizer.clip(_CLIP)
            self.optimizer.step()
            self.state = {name: value.detach() for name, value in after.items()}


class _Plain:
    """The same net as a plain torch user writes it: nn.Embedding, nn.LSTM, a tied linear map, softmax over all."""

    def __init__(self, case: _Case) -> None:
        config = case.net
        dropout = config.layer_dropout if config.layers > 1 else 0.0
        self.embedding = nn.Embedding(case.vocabulary, config.embedding)
        self.lstm = nn.LSTM(config.embedding, config.hidden, config.layers, batch_first=True, dropout=dropout)
        self.map = nn.Linear(config.hidden, config.embedding, bias=False)
        self.bias = nn.Parameter(torch.zeros(case.vocabulary))
        self.modules = nn.ModuleList([self.embedding, self.lstm, self.map])
        self.weights = [*self.modules.parameters(), self.bias]
        self.optimizer = torch.optim.AdamW(self.weights, lr=_RATE)
        self.state: tuple[Tensor, Tensor] | None = None

    def take(self, steps: list[Tensor]) -> None:
        """As a contestant."""
        for window in steps:
            y, after = self.lstm(self.embedding(window[:, :-1]), self.state)
            scores = F.linear(self.map(y), self.embedding.weight, self.bias)
            loss = F.cross_entropy(scores.flatten(0, 1), window[:, 1:].flatten())
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.weights, _CLIP)
            self.optimizer.step()
            self.state = (after[0].detach(), after[1].detach())


def _writing(rounds: int) -> Record:
    """Characters a second of one text written by a net of 2 x 512, the best of some: float, and int8.

    It is hardly trained, on lines of which some are held out.
    """
    lines = [
        {"text": "".join(chr(0x41 + (row + place) * 7 % 26) + " " for place in range(9)) + "\n"} for row in range(400)
    ]
    writer = CASES["characters"].net.model_dump()
    config = {"train": {"max_steps": 1, "epochs": 1}, "text": {"unit": "character"}, "writer": writer}
    told: Record = {}
    with tempfile.TemporaryDirectory(prefix="cellgate-bench-") as made:
        folder = Path(made) / "writer"
        train("generate", lines, folder=folder, config=config)
        precisions: tuple[Precision, ...] = ("float", "int8")
        for precision in precisions:
            language = Language.of(open_bundle(folder, precision))
            told[f"{precision}_characters_per_second"] = round(max(_pace(language) for _ in range(rounds)))
    return told


def _pace(language: Language) -> float:
    """Tokens a second, the end of the document being no end."""
    began, count = time.perf_counter(), 0
    while count < _WRITTEN:
        count += sum(1 for _ in language.write("A ", Sampling(seed=count), Length(_WRITTEN - count))) + 1
    return count / (time.perf_counter() - began)
