"""Torch modules: batch to loss, batch to scores. Needs the extra `train`."""

from cellgate.nets.bag import Bag
from cellgate.nets.encoder import Encoder
from cellgate.nets.head import Head
from cellgate.nets.net import Net
from cellgate.nets.outputs import Sigmoid, Softmax, make_output
from cellgate.nets.reader import Reader

__all__ = ["Bag", "Encoder", "Head", "Net", "Reader", "Sigmoid", "Softmax", "make_output"]
