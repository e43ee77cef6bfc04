"""AdamW (Loshchilov & Hutter 2019) whose step on a large table costs what the rows read cost.

In dense AdamW a row p that no batch reads still moves: its moments m and v fade, and their ratio goes on pushing.
k steps after its last gradient, at step a, they are b1^k m_a and b2^k v_a, and step j = a + k pushes the row by
push(a, j) m_a / (sqrt(v_a) + eps_k), where all but m_a and v_a depends on steps and not on rows:

    push(a, j) = lr_j (b1 / sqrt(b2))^k sqrt(1 - b2^j) / (1 - b1^j)        eps_k = eps sqrt(1 - b2^j) / sqrt(b2)^k

So we keep for each step a what the steps since then did to every row last learned from at a,

    p = kept p_a - missed m_a / (sqrt(v_a) + floor)

and bring a row forward when it is read. kept and missed are exact: at each step both shrink by 1 - lr_j decay, and
missed grows by push(a, j). floor is the mean of eps_k, each weighted by its push: exact to first order in
eps / sqrt(v). Where gradients themselves are as small as eps, a row is up to a tenth of a learning rate astray in the
first steps of a training, and two ten-thousandths after a thousand steps.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.adamw import adamw

from cellgate.nets.tables import Table

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8
_STEPS = 1_024  # looked back on; then all rows are brought forward, and the count begins anew
_CHUNK = 2**22  # numbers of a table that are brought forward at once


@dataclass(frozen=True, slots=True)
class _Read:
    """The distinct rows of a batch, brought forward: numbers [M]; values (with a gradient) and moments [M, D]."""

    numbers: Tensor
    values: Tensor
    moment1: Tensor
    moment2: Tensor


class _Rows:
    """What AdamW remembers of a table [N, D].

    `learned` [N] says after how many of the steps in `since` a row was last brought forward. `since` [5, steps + 1],
    a column for each of these steps: kept, missed, floor times missed, b1^k, b2^k.
    """

    def __init__(self, table: Table, group: int) -> None:
        self.table, self.group = table, group
        self.moment1, self.moment2 = torch.zeros_like(table.weight), torch.zeros_like(table.weight)
        self.learned = torch.zeros(len(table), dtype=torch.int32)
        self.step = torch.zeros(())
        self.since = _nothing_missed()
        self.read: _Read | None = None

    def state(self) -> dict[str, Tensor]:
        """All that outlasts a batch, by name."""
        moments = {"moment1": self.moment1, "moment2": self.moment2}
        return moments | {"learned": self.learned, "step": self.step, "since": self.since}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take what `state` gave."""
        self.moment1, self.moment2 = state["moment1"], state["moment2"]
        self.learned, self.step, self.since = state["learned"], state["step"], state["since"]

    @torch.no_grad()
    def take(self, _: nn.Module, arguments: tuple[Tensor], __: object) -> tuple[Tensor, Tensor]:
        """As a forward hook of the table: hand out the rows asked for, each once, brought forward."""
        if self.read is not None:
            raise RuntimeError("a table was read twice in one batch; read all its rows at once")
        numbers, places = torch.unique(arguments[0], return_inverse=True)
        values = F.embedding(numbers, self.table.weight)
        moments = F.embedding(numbers, self.moment1), F.embedding(numbers, self.moment2)
        _bring_forward(values, *moments, self._factors(self.learned.index_select(0, numbers)))
        self.read = _Read(numbers, values.requires_grad_(), *moments)
        return values, places

    @torch.no_grad()
    def learn(self, learning_rate: float, decay: float) -> None:
        """Step on the rows read, from their gradient."""
        read = self.read
        self.read = None
        if read is None or read.values.grad is None:
            return
        adamw(
            [read.values],
            [read.values.grad],
            [read.moment1],
            [read.moment2],
            [],
            [self.step],
            fused=True,
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=learning_rate,
            weight_decay=decay,
            eps=_EPS,
            maximize=False,
        )
        self.table.weight.index_copy_(0, read.numbers, read.values)
        self.moment1.index_copy_(0, read.numbers, read.moment1)
        self.moment2.index_copy_(0, read.numbers, read.moment2)
        self.since = _one_more(self.since, float(self.step), learning_rate, decay)
        self.learned.index_fill_(0, read.numbers, self.since.shape[1] - 1)
        if self.since.shape[1] > _STEPS:
            self.catch_up()

    @torch.no_grad()
    def catch_up(self) -> None:
        """Bring all rows forward."""
        chunk = max(1, _CHUNK // self.moment1.shape[1])
        parts = (torch.split(each, chunk) for each in (self.table.weight, self.moment1, self.moment2, self.learned))
        for values, moment1, moment2, learned in zip(*parts, strict=True):
            _bring_forward(values, moment1, moment2, self._factors(learned))
        self.learned.zero_()
        self.since = _nothing_missed()

    def _factors(self, learned: Tensor) -> Tensor:
        """kept, missed, floor, b1^k, b2^k [M, 5] of rows brought forward after the steps `learned` [M]."""
        kept, missed, eased, faded1, faded2 = self.since
        # Where nothing was missed the floor is any number above 0: an element without moments is then 0 / floor.
        floor = (eased / missed.clamp(min=1e-300)).clamp(min=1e-20)
        return torch.stack([kept, missed, floor, faded1, faded2], 1).to(self.moment1.dtype).index_select(0, learned)


def _bring_forward(values: Tensor, moment1: Tensor, moment2: Tensor, factors: Tensor) -> None:
    """Do to rows and their moments [M, D], in place, what the steps they missed would have done."""
    kept, missed, floor, faded1, faded2 = factors.unsqueeze(2).unbind(1)
    direction = moment1 / moment2.sqrt().add_(floor)
    values.mul_(kept).sub_(direction.mul_(missed))
    moment1.mul_(faded1)
    moment2.mul_(faded2)


def _nothing_missed() -> Tensor:
    """A column of `since` for rows learned from just now."""
    return torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64).unsqueeze(1)


def _one_more(since: Tensor, step: float, learning_rate: float, decay: float) -> Tensor:
    """`since` after one more step, the `step`-th of the training."""
    kept, missed, eased, faded1, faded2 = since
    faded1, faded2 = faded1 * _BETA1, faded2 * _BETA2
    root = (1 - _BETA2**step) ** 0.5
    push = learning_rate * root / (1 - _BETA1**step) * faded1 / faded2.sqrt()
    shrunk = 1 - learning_rate * decay
    eased = eased * shrunk + push * _EPS * root / faded2.sqrt()
    return torch.cat(
        [torch.stack([kept * shrunk, missed * shrunk + push, eased, faded1, faded2]), _nothing_missed()], 1
    )


class RowwiseAdamW:
    """AdamW, dense but for `tables`: of those a step touches the rows that the batch read.

    A step is `with reading(): loss = ...`, then backward, `clip`, `step`. Between steps, rows not read lately are
    behind; `catch_up` before the net is used in any other way. What is saved may be behind: it goes on the same.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], tables: Sequence[Table]) -> None:
        apart = {id(table.weight) for table in tables}
        dense = [{**group, "params": [p for p in group["params"] if id(p) not in apart]} for group in groups]
        self._dense = torch.optim.AdamW(dense, betas=(_BETA1, _BETA2), eps=_EPS, fused=True)
        self._rows = [
            _Rows(table, number)
            for number, group in enumerate(groups)
            for table in tables
            if any(table.weight is parameter for parameter in group["params"])
        ]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Each with its learning rate, "lr", which may be set between steps."""
        return self._dense.param_groups

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While it lasts, tables hand out only the rows asked for, to be learned by the next `step`."""
        with ExitStack() as stack:
            for rows in self._rows:
                rows.read = None
                stack.enter_context(rows.table.register_forward_hook(rows.take))
            yield

    def clip(self, norm: float) -> None:
        """Shorten the gradient of each group on its own: groups share no weights and have losses of their own."""
        for number, group in enumerate(self.groups):
            read = [rows.read.values for rows in self._rows if rows.group == number and rows.read is not None]
            nn.utils.clip_grad_norm_([*group["params"], *read], norm)

    def step(self) -> None:
        """Learn from the gradients, and drop them."""
        self._dense.step()
        self._dense.zero_grad(set_to_none=True)
        for rows in self._rows:
            group = self.groups[rows.group]
            rows.learn(group["lr"], group["weight_decay"])

    def catch_up(self) -> None:
        """Bring all rows of all tables forward."""
        for rows in self._rows:
            rows.catch_up()

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs to go on with the same bits."""
        moments = self._dense.state_dict()["state"].items()
        state = {f"{number}.{name}": value for number, values in moments for name, value in values.items()}
        for number, rows in enumerate(self._rows):
            state |= {f"table{number}.{name}": value for name, value in rows.state().items()}
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Take what `state` gave, over the same groups and tables."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in state.items():
            owner, _, field = name.partition(".")
            parts.setdefault(owner, {})[field] = value
        for number, rows in enumerate(self._rows):
            rows.load(parts.pop(f"table{number}"))
        dense = {int(number): moments for number, moments in parts.items()}
        self._dense.load_state_dict({"state": dense, "param_groups": self._dense.state_dict()["param_groups"]})
