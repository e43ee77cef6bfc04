"""What a trained net becomes before it answers."""

from torch import Tensor, nn

from cellgate.nets.tables import round_tables
from cellgate.nets.vectors import TokenVectors
from cellgate.nets.window import Window


def settle(net: nn.Module, spelling: Tensor) -> None:
    """Make a trained net what answers: tables rounded, one row a word of the vocabulary, spelled [vocabulary, C].

    What is decided on dev should be decided of the net that answers.
    """
    round_tables(net)
    for module in net.modules():
        if isinstance(module, TokenVectors | Window):
            module.settle(spelling)
