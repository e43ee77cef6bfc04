"""A checkpoint in one file, written whole or not at all: weights, optimiser, best weights, place in the data."""

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cellgate.fit.rowwise import RowwiseAdamW

_NET, _KEPT, _CARRIED, _OPTIMIZER = "net.", "kept.", "carried.", "optimizer."


@dataclass(frozen=True)
class Progress:
    """Where training stands."""

    step: int = 0
    epoch: int = 0
    place: int = 0  # batches done in this epoch
    loss_sum: float = 0.0  # over this epoch's batches
    best_score: float = float("-inf")
    kept_epoch: int = 0
    losses: tuple[float, ...] = ()  # of each epoch, mean over its batches [nats]
    scores: tuple[float, ...] = ()  # of each epoch, the first metric on dev
    skipped: int = 0  # steps whose loss was no number
    kept_weights: dict[str, Tensor] = field(default_factory=dict, repr=False)
    carried: dict[str, Tensor] = field(default_factory=dict, repr=False)  # the state in which the last batch ended

    def after_step(self, loss: float, carried: dict[str, Tensor]) -> "Progress":
        """One more batch was learned from; where its loss is no number, it was not."""
        done = replace(self, step=self.step + 1, place=self.place + 1, carried=carried)
        if not math.isfinite(loss):
            return replace(done, skipped=self.skipped + 1)
        return replace(done, loss_sum=self.loss_sum + loss)

    def after_epoch(self, score: float, kept: nn.Module | None) -> "Progress":
        """An epoch ended with this dev score; `kept` is the net where its weights are to be kept."""
        losses = (*self.losses, self.loss_sum / max(1, self.place))
        done = replace(self, epoch=self.epoch + 1, place=0, loss_sum=0.0, losses=losses, scores=(*self.scores, score))
        if kept is None:
            return done
        weights = {name: value.clone() for name, value in kept.state_dict().items()}
        return replace(done, best_score=max(score, self.best_score), kept_epoch=self.epoch + 1, kept_weights=weights)


def save_checkpoint(path: Path, net: nn.Module, optimizer: RowwiseAdamW, progress: Progress) -> None:
    """Write all that training needs to go on; the file before it stands until this one is complete."""
    tensors = {_NET + name: value for name, value in net.state_dict().items()}
    tensors |= {_KEPT + name: value for name, value in progress.kept_weights.items()}
    tensors |= {_CARRIED + name: value for name, value in progress.carried.items()}
    tensors |= {_OPTIMIZER + name: value for name, value in optimizer.state().items()}
    facts = asdict(replace(progress, kept_weights={}, carried={}))
    del facts["kept_weights"], facts["carried"]
    content = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    staged = path.with_name(path.name + ".part")
    try:
        save_file(content, staged, {"progress": json.dumps(facts)})  # straight to disk: a copy in memory is large
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, f"the checkpoint cannot be written: {error}") from error
    os.replace(staged, path)


def load_checkpoint(
    path: Path, net: nn.Module, make_optimizer: Callable[[], RowwiseAdamW]
) -> tuple[Progress, RowwiseAdamW]:
    """Put the weights back into `net`, then make the optimiser over them and put its state back."""
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["progress"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    net.load_state_dict(_under(_NET, tensors))
    optimizer = make_optimizer()
    optimizer.load(_under(_OPTIMIZER, tensors))
    facts |= {name: tuple(facts[name]) for name in ("losses", "scores")}
    return Progress(**facts, kept_weights=_under(_KEPT, tensors), carried=_under(_CARRIED, tensors)), optimizer


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
