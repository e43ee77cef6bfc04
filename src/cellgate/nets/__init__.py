"""Torch modules: batch to loss, batch to scores. Needs the extra `train`."""

from cellgate.nets.bag import Bag
from cellgate.nets.crf import Crf
from cellgate.nets.encoder import Encoder
from cellgate.nets.half import Half
from cellgate.nets.head import Head
from cellgate.nets.net import Net
from cellgate.nets.outputs import Sigmoid, Softmax, chosen_imbalance, label_weights, make_output
from cellgate.nets.reader import Reader
from cellgate.nets.recurrent import Recurrent
from cellgate.nets.tagger import Tagger
from cellgate.nets.vectors import settle

__all__ = [
    "Bag",
    "Crf",
    "Encoder",
    "Half",
    "Head",
    "Net",
    "Reader",
    "Recurrent",
    "Sigmoid",
    "Softmax",
    "Tagger",
    "chosen_imbalance",
    "label_weights",
    "make_output",
    "settle",
]
