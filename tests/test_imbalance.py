"""Labels with few rows: what is done by default, and what each remedy does to the loss and to what is drawn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cellgate.data.batching import epoch_order, even_chances
from cellgate.errors import UsageError
from cellgate.nets import chosen_imbalance, label_weights, make_output
from cellgate.task import find

LOGITS = torch.tensor([[2.0, -1.0], [0.5, 0.0], [-1.0, 1.0]])
TARGET = torch.tensor([0, 1, 1])


@pytest.mark.parametrize(
    ("rows", "several", "chosen"),
    [
        ((9_900, 100), False, "weights"),  # one of a hundred is never the likelier of the two
        ((8_700, 1_300), False, "none"),
        ((9_900, 100), True, "none"),  # a threshold of its own does it
        ((9_000, 900, 100), False, "none"),
    ],
)
def test_by_default_rows_weigh_more_where_one_of_two_labels_is_rare(rows, several, chosen):
    assert chosen_imbalance("auto", rows, several) == chosen
    assert chosen_imbalance("focal", rows, several) == "focal"


def test_a_tagger_has_no_choice_that_weighs_single_answers():
    with pytest.raises(UsageError, match=r"train\.imbalance"):
        find("tag").config.parse({"train": {"imbalance": "weights"}}, "test")


def test_weights_make_the_labels_count_alike_in_the_loss():
    rows = (900, 100)
    assert (label_weights(rows, "weights") * rows).tolist() == pytest.approx([500, 500])
    loss = make_output(False, rows, "weights").loss(LOGITS, TARGET, 0.0)
    each = F.cross_entropy(LOGITS, TARGET, reduction="none")
    assert float(loss) == pytest.approx(float((each * torch.tensor([500 / 900, 5.0, 5.0])).mean()))


def test_the_focal_loss_counts_what_is_answered_well_less():
    plain = F.cross_entropy(LOGITS, TARGET, reduction="none")
    surest = LOGITS.softmax(1).gather(1, TARGET[:, None])[:, 0]
    loss = make_output(False, (2, 1), "focal").loss(LOGITS, TARGET, 0.0)
    assert float(loss) == pytest.approx(float((plain * (1 - surest) ** 2).mean()))


def test_sampling_draws_all_labels_alike():
    groups = np.array([0] * 950 + [1] * 50)
    order = epoch_order(np.full(1_000, 5), rows=50, tokens=10_000, seed=0, epoch=0, chances=even_chances(groups))
    drawn = groups[np.concatenate(order)]
    assert 0.4 < drawn.mean() < 0.6
