"""A checkpoint in one file, written whole or not at all: weights, optimiser, best weights, place in the data."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_NET, _BEST, _OPTIMIZER = "net.", "best.", "optimizer."


@dataclass(frozen=True)
class Progress:
    """Where training stands."""

    step: int = 0
    epoch: int = 0
    place: int = 0  # batches done in this epoch
    loss_sum: float = 0.0  # over this epoch's batches
    best_score: float = float("-inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def after_step(self, loss: float) -> "Progress":
        """One more batch was learned from."""
        return replace(self, step=self.step + 1, place=self.place + 1, loss_sum=self.loss_sum + loss)

    def after_epoch(self, score: float, better: nn.Module | None) -> "Progress":
        """An epoch ended with this dev score; `better` is the net where it is the best one so far."""
        done = replace(self, epoch=self.epoch + 1, place=0, loss_sum=0.0)
        if better is None:
            return done
        weights = {name: value.clone() for name, value in better.state_dict().items()}
        return replace(done, best_score=max(score, self.best_score), best_epoch=self.epoch + 1, best_weights=weights)


def save_checkpoint(path: Path, net: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write all that training needs to go on; the file before it stands until this one is complete."""
    tensors = {_NET + name: value for name, value in net.state_dict().items()}
    tensors |= {_BEST + name: value for name, value in progress.best_weights.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{number}.{name}": value for name, value in moments.items()}
    facts = asdict(replace(progress, best_weights={}))
    del facts["best_weights"]
    staged = path.with_name(path.name + ".part")
    save_file(
        {name: t.detach().contiguous() for name, t in tensors.items()},
        staged,
        {"progress": json.dumps(facts)},
    )
    os.replace(staged, path)


def load_checkpoint(
    path: Path, net: nn.Module, make_optimizer: Callable[[], torch.optim.Optimizer]
) -> tuple[Progress, torch.optim.Optimizer]:
    """Put the weights back into `net`, then make the optimiser over them and put its state back."""
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["progress"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    net.load_state_dict(_under(_NET, tensors))
    optimizer = make_optimizer()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(_OPTIMIZER, tensors).items():
        number, _, moment = name.partition(".")
        state.setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return Progress(**facts, best_weights=_under(_BEST, tensors)), optimizer


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
