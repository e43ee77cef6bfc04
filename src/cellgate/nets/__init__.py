"""Torch modules: batch to loss, batch to scores. Needs the extra `train`."""

from cellgate.nets.bag import Bag
from cellgate.nets.crf import Crf
from cellgate.nets.emitter import Emitter, RecurrentEmitter
from cellgate.nets.encoder import Encoder
from cellgate.nets.half import Half
from cellgate.nets.head import Head
from cellgate.nets.net import Net
from cellgate.nets.outputs import Sigmoid, Softmax, chosen_imbalance, label_weights, make_output
from cellgate.nets.reader import Reader
from cellgate.nets.recurrent import Recurrent
from cellgate.nets.settle import settle
from cellgate.nets.tagger import Tagger
from cellgate.nets.window import Window
from cellgate.nets.writer import Writer

__all__ = [
    "Bag",
    "Crf",
    "Emitter",
    "Encoder",
    "Half",
    "Head",
    "Net",
    "Reader",
    "Recurrent",
    "RecurrentEmitter",
    "Sigmoid",
    "Softmax",
    "Tagger",
    "Window",
    "Writer",
    "chosen_imbalance",
    "label_weights",
    "make_output",
    "settle",
]
