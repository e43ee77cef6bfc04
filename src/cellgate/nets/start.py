"""A net's recurrent half begins with what a language model has learned (Howard & Ruder 2018; Peters et al. 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cellgate.batch import Ids
from cellgate.nets.encoder import Encoder


@torch.no_grad()
def start_from(net: nn.Module, weights: Mapping[str, Tensor], numbers: Ids) -> None:
    """Give the encoder inside `net` the vectors and the layers of a Writer, of which these are the weights.

    `numbers` [vocabulary] are those of the Writer's tokens, whose vectors words get. What the encoder adds to them
    (vectors of n-grams or pairs, letters, the other direction of the layer below) begins as nothing, so that it reads
    as the Writer does.
    """
    (encoder,) = (module for module in net.modules() if isinstance(module, Encoder))
    table = weights["table.weight"]
    encoder.vectors.own.weight.copy_(table[torch.from_numpy(numbers).long()])
    encoder.vectors.shared.weight.zero_()
    for number in range(encoder.config.layers):
        for direction, layer in enumerate(encoder.layer(number)):
            prefix = f"{('weights', 'weights_back')[direction]}.{number}."
            for name, weight in layer.items():
                given = weights[prefix + name]
                if name != "w_x":
                    weight.copy_(given)
                    continue
                weight.zero_()  # [4H, inputs]: above the first layer both directions, of which a Writer reads its own
                first = direction * given.shape[1] if number else 0
                weight[:, first : first + given.shape[1]].copy_(given)
