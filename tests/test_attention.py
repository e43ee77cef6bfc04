"""The head of a language model that looks back at its own past: what it sees, in pieces, in the graph, in training."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cellgate.batch import Ids
from cellgate.bundle import Bundle, open_bundle
from cellgate.config import TrainConfig, WriterConfig
from cellgate.data.streams import Stream
from cellgate.errors import UsageError
from cellgate.fit.events import Step
from cellgate.fit.lanes import DevText, Lanes
from cellgate.language import Language, Length
from cellgate.nets import Writer
from cellgate.nets.attention import Attention
from cellgate.plan import Plan
from cellgate.sampling import Sampling
from cellgate.task import find
from cellgate.training import train, train_events

# Written for these tests: a lighthouse keeper's notes, each of which names its day again at the end.
NOTES = [f"Note {day}: {day % 9} ships passed, the lamp burnt {day % 5} hours; so ends {day}.\n" for day in range(90)]
REACH = 24
CONFIG: dict[str, dict[str, Any]] = {
    "writer": {"embedding": 10, "hidden": 16, "layers": 2, "last": 12, "directions": 2, "attention": REACH},
    "train": {"max_steps": 40, "batch_rows": 4, "batch_tokens": 64, "threads": 2, "learning_rate": 0.01},
}


def rows() -> list[dict[str, str]]:
    return [{"text": note} for note in NOTES]


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train("generate", rows(), folder=tmp_path_factory.mktemp("attention") / "notes", config=CONFIG)


def a_net(**settings: Any) -> Writer:
    """A net whose head is not at its beginning, where it may be told apart from none but little."""
    torch.manual_seed(0)
    net = Writer(WriterConfig.model_validate({"embedding": 8, "hidden": 12, "attention": 6, **settings}), [5] * 30)
    with torch.no_grad():
        for head in net.heads:
            for weight in head.parameters():
                weight.normal_(0, 3)
    return net.eval()


def read(net: Writer, tokens: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    with torch.no_grad():
        outputs, after = net({"tokens": tokens, "lengths": torch.full((len(tokens),), tokens.shape[1])}, state)
    return outputs["scores"], after


# What it sees


def test_a_later_token_changes_no_earlier_score_and_each_does_change_those_behind_it():
    net, tokens = a_net(), torch.randint(0, 30, (2, 15))
    scores, _ = read(net, tokens, {})
    for place in range(15):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 30
        other, _ = read(net, changed, {})
        torch.testing.assert_close(other[:, :place], scores[:, :place], rtol=0, atol=1e-6)
        assert (other[:, place:] - scores[:, place:]).abs().amax(2).min() > 0


@torch.no_grad()
def test_a_head_sees_the_last_tokens_the_newest_included_and_no_others():
    head = Attention(5, 3, 4)
    h, before, x, lengths = torch.randn(1, 12, 5), torch.randn(1, 5), torch.randn(1, 12, 3), torch.tensor([12])
    z, _ = head(h, before, x, lengths, head.initial_state(1))
    for place in range(12):
        changed = x.clone()
        changed[:, place] += 1
        other, _ = head(h, before, changed, lengths, head.initial_state(1))
        moved = (other - z).abs().amax((0, 2)) > 0
        assert moved.tolist() == [place <= token < place + 4 for token in range(12)]


@torch.no_grad()
def test_a_head_is_its_equations():
    head = Attention(5, 4, 3)
    for weight in head.parameters():
        weight.normal_(0, 3)
    h, before, x = torch.randn(1, 7, 5), torch.randn(1, 5), torch.randn(1, 7, 4)
    z, _ = head(h, before, x, torch.tensor([7]), head.initial_state(1))
    keys = torch.cat([before, h[0, :-1]])
    for t in range(7):
        seen = slice(max(0, t - 2), t + 1)
        likeness = torch.nn.functional.cosine_similarity(keys[seen], (head.query @ h[0, t])[None])
        shares = (head.sharpness * likeness).softmax(0)
        torch.testing.assert_close(z[0, t], torch.sigmoid(head.gate) * (shares @ x[0, seen]))


# In pieces


@settings(max_examples=30, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(1, 29), max_size=8), reach=st.sampled_from([1, 3, 6, 40]))
def test_read_in_pieces_the_scores_and_the_state_are_those_of_the_whole(cuts, reach):
    net = a_net(attention=reach)
    tokens = torch.randint(0, 30, (2, 30), generator=torch.Generator().manual_seed(reach))
    whole, after = read(net, tokens, {})
    state: dict[str, Tensor] = {}
    parts = []
    for start, end in pairwise([0, *sorted(set(cuts)), 30]):
        scores, state = read(net, tokens[:, start:end], state)
        parts.append(scores)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    torch.testing.assert_close(state, after)


@torch.no_grad()
def test_rows_of_several_lengths_are_read_as_each_alone():
    net, tokens = a_net(), torch.randint(0, 30, (3, 9))
    lengths = torch.tensor([9, 2, 7])
    _, state = read(net, torch.randint(0, 30, (3, 3)), {})
    outputs, after = net({"tokens": tokens, "lengths": lengths}, state)
    for row, length in enumerate(lengths.tolist()):
        before = {name: value[row : row + 1] for name, value in state.items()}
        scores, alone = read(net, tokens[row : row + 1, :length], before)
        torch.testing.assert_close(outputs["scores"][row : row + 1, :length], scores)
        torch.testing.assert_close({name: value[row : row + 1] for name, value in after.items()}, alone)


# In training


def test_without_a_head_a_net_is_as_it_was_and_with_one_the_rest_of_it_begins_alike():
    nets = []
    for reach in (0, 6):
        torch.manual_seed(3)
        nets.append(Writer(WriterConfig(embedding=8, hidden=12, attention=reach), [5] * 30))
    without, with_one = (net.state_dict() for net in nets)
    assert {name.partition(".")[0] for name in with_one.keys() - without.keys()} == {"heads"}
    assert all(value.equal(with_one[name]) for name, value in without.items())
    assert not any(name.startswith("attention") for name in nets[0].initial_state(1))


def test_the_loss_reaches_every_weight_and_what_is_carried_is_not_learned_through():
    torch.manual_seed(0)
    net = Writer(WriterConfig(embedding=8, hidden=12, last=10, directions=2, attention=20), [5] * 30)
    tokens = torch.randint(0, 30, (3, 21))

    def part(start: int, end: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        inputs = {"tokens": tokens[:, start:end], "lengths": torch.full((3,), end - start)}
        return inputs, {"next": tokens[:, start + 1 : end + 1]}

    _, state = net.continued(*part(0, 10), {})
    loss, _ = net.continued(*part(10, 20), {name: value.detach() for name, value in state.items()})
    torch.autograd.backward(loss)
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def repeating(count: int) -> Ids:
    """Strings of 24 letters of 60, each twice: who looks back foretells half of them, who does not not one."""
    random = np.random.default_rng(0)
    return np.concatenate([np.tile(random.integers(2, 62, 24), 2) for _ in range(count)]).astype(np.int32)


def nats_after(reach: int, text: Ids, dev: Ids) -> float:
    """Of dev's tokens, after a short training in steps of 16 tokens."""
    plain = {name: 0.0 for name in WriterConfig.model_fields if "dropout" in name or "penalty" in name}
    torch.manual_seed(0)
    net = Writer(WriterConfig(embedding=32, hidden=32, layers=1, attention=reach, **plain), [5] * 62)
    steps = (
        Lanes(Stream(text, np.array([0])), 0).course(TrainConfig(batch_rows=8, batch_tokens=128, epochs=1)).steps_of(0)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    state: dict[str, Tensor] = {}
    for place in range(steps.count):
        batch = steps.batch(place)
        loss, after = net.continued(batch.inputs, batch.target, state)
        state = {name: value.detach() for name, value in after.items()}
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return float(DevText(dev, 0, 1).verdict(net.eval()).metrics["nats"])


def test_what_repeats_beyond_a_step_is_foretold_with_a_head_and_not_without():
    text, chance = repeating(700), math.log(60)
    assert nats_after(0, text[:-4_000], text[-4_000:]) > chance - 0.02
    assert nats_after(64, text[:-4_000], text[-4_000:]) < chance - 0.5


def test_stopped_between_two_steps_and_resumed_ends_in_the_same_bytes(notes: Bundle, tmp_path: Path):
    """What the head remembers is part of a checkpoint."""
    task = find("generate")
    config = task.config.parse(CONFIG, "test")
    plan = Plan("generate", config, [task.read(row) for row in rows()], None, tmp_path / "stopped", {})
    events = train_events(plan)
    next(event for event in events if isinstance(event, Step) and event.step == 17)
    events.close()
    for _ in train_events(plan, resume=True):
        pass
    for name in ("weights.safetensors", "model.onnx"):
        assert (tmp_path / "stopped" / name).read_bytes() == (notes.folder / name).read_bytes()


# The Bundle


def test_what_the_graphs_say_is_what_the_net_says(notes: Bundle):
    parity = json.loads((notes.folder / "parity.json").read_text("utf-8"))
    assert parity["rows"] > 10 * REACH
    assert parity["torch_float_difference"] < 1e-5
    assert abs(parity["int8"]["nats"] - parity["float"]["nats"]) < 0.05
    told = {entry["name"]: entry for entry in notes.manifest["graph"]["state"]}
    assert (told["attention.keys"]["shape"], told["attention.vectors"]["shape"]) == ([REACH, 12], [REACH, 10])
    assert told["attention.count"] == {"name": "attention.count", "dtype": "int64", "shape": []}


@pytest.mark.parametrize("precision", ["float", "int8"])
def test_a_session_tells_what_the_whole_tells_and_goes_on_in_another(notes: Bundle, precision, tmp_path: Path):
    bundle = open_bundle(notes.folder, precision)
    language = Language.of(bundle)
    text = "".join(NOTES[:2])
    wanted = language.chances(np.array(language.codec.ids(text), np.int32))
    session, foretold, sizes = bundle.session(), [], []
    for start in range(0, len(text), 7):
        foretold.append(session.feed(text[start : start + 7]).foretold)
        session.save(tmp_path / "saved")
        sizes.append((tmp_path / "saved").stat().st_size)
        session = bundle.session(tmp_path / "saved")
    foretold.append(session.end().foretold)
    np.testing.assert_allclose(np.concatenate(foretold), wanted, atol=1e-5 if precision == "float" else 0.1)
    assert max(sizes) - min(sizes) < 100


def test_each_written_token_is_the_likeliest_behind_the_whole_text_before_it(notes: Bundle):
    language, text = Language.of(notes), "Note 7: "
    written = "".join(language.write(text, Sampling(temperature=0), Length(2 * REACH)))
    assert len(written) == 2 * REACH
    for place in (0, 1, REACH - 1, REACH, 2 * REACH - 1):
        assert notes.predict([text + written[:place]])[0].value == written[place]


def test_no_encoder_begins_with_a_language_model_that_has_a_head(notes: Bundle, tmp_path: Path):
    labelled = [{"text": note, "label": "odd" if place % 2 else "even"} for place, note in enumerate(NOTES[:20])]
    said = r"it has an attention head over 24 tokens, .* train the language model with --writer\.attention 0"
    with pytest.raises(UsageError, match=said):
        train(
            "classify",
            labelled,
            folder=tmp_path / "no",
            config={"text": {"unit": "character"}, "start": {"language": str(notes.folder)}},
        )
