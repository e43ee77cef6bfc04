"""Dynamic evaluation (Krause et al. 2018): a language model that goes on learning from the text it is judged on.

Each token is foretold before it is learned from, so the figure is honest; but it is another one than that of the model
as it stands, and the two are never mixed. Needs torch, and changes nothing in the Bundle.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from cellgate.batch import Ids
from cellgate.language import Adapting, Language, text_metrics
from cellgate.nets import Net
from cellgate.task import Row

_EPSILON = 1e-3  # added to the root mean square of a weight's gradients, of which few are known at first
_FIRST = 10  # steps that only collect these
_AT_ONCE = 2**16  # numbers of a weight that are gone through together: they stay in cache


def evaluate_adapting(
    language: Language, rows: Iterable[Row | Mapping[str, Any]], how: Adapting | None = None
) -> dict[str, float]:
    """As `Language.evaluate`, of a model that learns from each part of the text once it is judged by it.

    Without `unknown`, which is a fact of the text. DataError where there is none.
    """
    how, codec = how or Adapting(), language.codec
    net = _net(language)
    learner = _Learner(list(net.parameters()), how)
    pieces = list(language.pieces(rows))
    ids = np.concatenate([np.array(codec.before(), np.int32), *codec.stream(pieces)])
    state: dict[str, Tensor] = net.initial_state(1)
    total, count = 0.0, 0
    for start in range(0, len(ids) - 1, how.tokens):
        inputs, following = _part(ids[start : start + how.tokens + 1])
        outputs, after = net(inputs, state)
        losses = F.nll_loss(outputs["scores"][0], following, reduction="none")
        judged = torch.from_numpy(codec.is_text(following.numpy()))
        total += float(losses.detach()[judged].sum(dtype=torch.float64))
        count += int(judged.sum())
        torch.autograd.backward(losses.mean())
        learner.step()
        state = {name: value.detach() for name, value in after.items()}
    return text_metrics(total, count, sum(len(piece.text) for piece in pieces))


def _net(language: Language) -> Net:
    """The trained net, as the Bundle keeps it."""
    bundle = language.bundle
    net: Net = bundle.task.net(bundle.settings, language.codec, bundle.target)
    net.load_state_dict(load_file(bundle.folder / "weights.safetensors"))
    return net.eval()


def _part(ids: Ids) -> tuple[dict[str, Tensor], Tensor]:
    tokens = torch.from_numpy(ids.astype(np.int64))
    return {"tokens": tokens[None, :-1], "lengths": torch.tensor([len(ids) - 1])}, tokens[1:]


class _Learner:
    """Steps by gradients over their usual size, and back to where the weights began, by the text read so far."""

    def __init__(self, weights: list[Tensor], how: Adapting) -> None:
        self._how = how
        self._weights = weights
        self._trained = [weight.detach().clone() for weight in weights]
        self._squares = [torch.zeros_like(weight) for weight in weights]
        self._steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Learn from the gradients, and drop them."""
        self._steps += 1
        for weight, trained, squares in zip(self._weights, self._trained, self._squares, strict=True):
            if weight.grad is None:
                continue
            parts = [torch.split(each.flatten(), _AT_ONCE) for each in (weight.grad, squares, weight.detach(), trained)]
            sizes = 0.0
            for gradient, square in zip(*parts[:2], strict=True):
                square.add_(gradient.square().sub_(square).div_(self._steps))
                sizes += float(square.sqrt().sum())
            if self._steps > _FIRST:
                self._learn(zip(*parts, strict=True), max(sizes / weight.numel(), 1e-12))
            weight.grad = None

    def _learn(self, parts: Iterable[tuple[Tensor, ...]], mean: float) -> None:
        """Move parts of a weight whose gradients' root mean square is `mean` on average."""
        for gradient, square, weight, trained in parts:
            usual = square.sqrt()
            # A number that moves often is drawn back more, up to all the way.
            back = (usual * (self._how.decay / mean)).clamp_(max=1.0)
            weight.sub_(gradient.div_(usual.add_(_EPSILON * mean)), alpha=self._how.rate)
            weight.add_(back.mul_(trained - weight))
