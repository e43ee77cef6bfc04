"""Nets against literal arithmetic, and their promises: stream == whole, batch == single, padding is not looked at."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cellgate import task
from cellgate.batch import TextSizes
from cellgate.codecs import LabelCodec, LabelSetCodec, TextCodec
from cellgate.codecs.spellings import WORD_END, WORD_START
from cellgate.config import BagConfig, EncoderConfig, HeadConfig, TextConfig
from cellgate.nets import Bag, Encoder, Head, Net, Reader, settle
from cellgate.nets import encoder as encoder_module
from cellgate.nets.calibration import USUAL_SHARE, best_scale, best_share, best_temperature, log_softmax
from cellgate.nets.dropout import blank, blank_places, locked, locked_types
from cellgate.nets.hashing import character_ngrams, first_tail, next_tail, token_hashes, token_ngrams
from cellgate.nets.hashing_onnx import translations
from cellgate.ops import Cell, Rows, Weights
from cellgate.ops.values import dense
from cellgate.text.tokens import Unit

CLASSIFY = task.find("classify")
CLOSE = 1e-5  # float32 sums of some twenty terms of size 1, taken in another order
HALF = 2e-3  # values up to 4, rounded to half precision
CELLS: tuple[Cell, ...] = ("lstm", "peephole", "gru", "rnn")
KNOWN = {
    "word": ["the", "cat", "sat", "on", "a", "mat", ";", "ada", "met", "bob", "in", "rome"],
    "character": list("这家店的服务很好太差不会再来"),
}
UNKNOWN = {"word": ["zebra", "antidisestablishmentarianism", "q"], "character": ["猫", "x", "☃"]}
JOIN = {"word": " ", "character": ""}

Inputs = dict[str, Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nets this small are slowed down a hundredfold by threads that wait for a busy neighbour."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def codec_of(unit: Unit) -> TextCodec:
    return TextCodec.learn(TextConfig(unit=unit, min_count=1), [JOIN[unit].join(KNOWN[unit])])


CODECS: dict[Unit, TextCodec] = {"word": codec_of("word"), "character": codec_of("character")}
LABELS = LabelCodec(("a", "b", "c"), (4, 4, 4))


def inputs_of(unit: Unit, texts: list[list[str]]) -> Inputs:
    codec = CODECS[unit]
    arrays = codec.collate(codec.encode([JOIN[unit].join(text) for text in texts]))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def texts_of(unit: Unit, longest: int = 9) -> st.SearchStrategy[list[str]]:
    tokens = st.sampled_from(KNOWN[unit]) | st.sampled_from(UNKNOWN[unit])
    return st.lists(tokens, min_size=1, max_size=longest)


def net_of(unit: Unit, cell: Cell = "lstm", layers: int = 1, directions: int = 1, words: Any = "auto") -> Reader:
    """The classifier with random weights everywhere, of the sizes a toy needs."""
    torch.manual_seed(7)
    config = CLASSIFY.config.parse(
        {
            "encoder": {
                "cell": cell,
                "layers": layers,
                "directions": directions,
                "embedding": 6,
                "hidden": 5,
                "buckets": 64,
            },
            "linear": {"words": words, "min_count": 1},
        },
        "the test",
    )
    net = CLASSIFY.net(config, CODECS[unit], LABELS)
    assert isinstance(net, Reader)
    random = np.random.default_rng(0)
    texts = [list(random.choice(KNOWN[unit], 6)) for _ in range(30)]
    inputs = {name: tensor.numpy() for name, tensor in inputs_of(unit, texts).items()}
    label = random.integers(0, len(LABELS), len(texts))
    net.prepare(lambda: [(inputs, {"label": label})])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.7)
        bag_of(net).rows.weight[0] = 0  # row 0 is no n-gram
        net.share.fill_(0.3)
        net.output.slope.fill_(1 / 1.7)
    return net.eval()


def bag_of(net: Net) -> Bag:
    (bag,) = (module for module in net.modules() if isinstance(module, Bag))
    return bag


def encoder_of(net: Net) -> Encoder:
    (encoder,) = (module for module in net.modules() if isinstance(module, Encoder))
    return encoder


# Hashing


def lehmer(count: int, limit: int) -> list[int]:
    values = []
    value = 20_261_121
    for _ in range(count):
        value = (48_271 * value) % 2_147_483_647
        values.append(value % limit)
    return values


PRIME, SALT = 2_147_483_647, 1_540_483_477
OF_CHARACTERS, OF_TOKENS = lehmer(24, PRIME), lehmer(4, 2**29)


def literal_token(points: list[int]) -> int:
    return sum(point * m for point, m in zip(points, OF_CHARACTERS, strict=False)) % (PRIME - 2) + 2


def literal_gram(values: list[int], multipliers: list[int]) -> int:
    return (len(values) * SALT + sum(v * m for v, m in zip(values, multipliers, strict=False))) % PRIME


POINTS = st.lists(st.integers(1, 0x10FFFF) | st.just(0x10FFFF), min_size=0, max_size=20)
often = settings(max_examples=60, deadline=None, derandomize=True)


@often
@given(st.lists(POINTS, min_size=1, max_size=4))
@example([[0x10FFFF] * 20])
def test_hashes_of_characters_are_the_documented_formula(words: list[list[int]]) -> None:
    width = max(1, *(len(word) for word in words))
    spelling = torch.tensor([word + [0] * (width - len(word)) for word in words])
    assert token_hashes(spelling).tolist() == [literal_token(word) for word in words]
    hashes, exists = character_ngrams(spelling, 2, 5)
    for row, word in enumerate(words):
        wanted = [
            literal_gram(word[at : at + n], OF_CHARACTERS) for n in range(2, 6) for at in range(len(word) - n + 1)
        ]
        assert hashes[row][exists[row]].tolist() == wanted


class NGrams(torch.nn.Module):
    """All that a graph holds of n-grams."""

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest

    def forward(self, spelling: Tensor, hashes: Tensor, tail: Tensor) -> tuple[Tensor, ...]:
        return *character_ngrams(spelling, 1, 5), *token_ngrams(hashes, tail, self.longest)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")  # torch's own code
@pytest.mark.filterwarnings("ignore:# The axis name. . will not be used:UserWarning")
@pytest.mark.parametrize("longest", [2, 4])
def test_a_graph_has_the_same_ngrams(longest: int) -> None:
    def inputs(words: int, characters: int, rows: int, tokens: int) -> tuple[Tensor, ...]:
        spelling = torch.randint(1, 0x110000, (words, characters))
        spelling[0, characters // 2 :] = 0
        return spelling, torch.randint(2, PRIME, (rows, tokens)), first_tail(rows, longest)

    torch.manual_seed(0)
    net, axes = NGrams(longest).eval(), {name: torch.export.Dim(name, min=1) for name in "UCBT"}
    shapes = ({0: axes["U"], 1: axes["C"]}, {0: axes["B"], 1: axes["T"]}, {0: axes["B"]})
    program = torch.onnx.export(
        net,
        inputs(3, 4, 2, 5),
        dynamo=True,
        dynamic_shapes=shapes,
        custom_translation_table=translations(),
        verbose=False,
    )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    for sizes in ((3, 4, 2, 5), (1, 1, 1, 1), (9, 24, 3, 40)):
        given = inputs(*sizes)
        found = session.run(None, {name: value.numpy() for name, value in zip(names, given, strict=True)})
        for ours, wanted in zip(found, net(*given), strict=True):
            np.testing.assert_array_equal(ours, wanted.numpy())


@often
@given(st.lists(st.integers(2, PRIME - 1) | st.just(PRIME - 1), min_size=1, max_size=7), st.integers(1, 4))
@example([PRIME - 1] * 6, 4)
def test_hashes_of_tokens_are_the_documented_formula(tokens: list[int], longest: int) -> None:
    hashes, exists = token_ngrams(torch.tensor([tokens]), first_tail(1, longest), longest)
    before = [1] if longest > 1 else []  # a text's beginning counts as a token of hash 1
    full = before + tokens
    for place in range(len(tokens)):
        end = len(before) + place + 1
        wanted = [literal_gram(full[end - n : end], OF_TOKENS) for n in range(1, longest + 1) if end - n >= 0]
        assert hashes[0, place][exists[0, place]].tolist() == wanted


@often
@given(st.lists(st.integers(2, PRIME - 1), min_size=2, max_size=9), st.integers(1, 4), st.data())
def test_ngrams_cross_the_cuts_of_a_stream(tokens: list[int], longest: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(tokens) - 1))
    whole, whole_exists = token_ngrams(torch.tensor([tokens]), first_tail(1, longest), longest)
    head, tail = torch.tensor([tokens[:cut]]), torch.tensor([tokens[cut:]])
    kept = next_tail(head, first_tail(1, longest), torch.tensor([cut]))
    first, first_exists = token_ngrams(head, first_tail(1, longest), longest)
    second, second_exists = token_ngrams(tail, kept, longest)
    assert torch.cat([first_exists, second_exists], 1).equal(whole_exists)
    joined = torch.cat([first, second], 1)
    assert joined[whole_exists].equal(whole[whole_exists])


def test_what_is_remembered_ends_where_each_row_ends() -> None:
    hashes = torch.tensor([[11, 12, 13], [21, 99, 99], [99, 99, 99]])
    tail = next_tail(hashes, first_tail(3, 3), torch.tensor([3, 1, 0]))
    assert tail.tolist() == [[12, 13], [1, 21], [0, 1]]


# Streams, batches, padding


def check_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(
            found[name], wanted[name], atol=CLOSE, rtol=CLOSE, msg=f"{name}: {found[name]} is not {wanted[name]}"
        )


@pytest.mark.parametrize("unit", CODECS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_text_fed_in_pieces_is_the_text_fed_whole(cell: Cell, layers: int, unit: Unit) -> None:
    net = net_of(unit, cell, layers, words=3)
    assert net.streams

    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(st.lists(st.lists(texts_of(unit, 4), min_size=1, max_size=4), min_size=1, max_size=3))
    @torch.no_grad()
    def check(rows: list[list[list[str]]]) -> None:
        steps = min(len(pieces) for pieces in rows)
        state = net.initial_state(len(rows))
        given_names = set(state)
        for step in range(steps):
            before = {name: array.clone() for name, array in state.items()}
            scores, after = net(inputs_of(unit, [pieces[step] for pieces in rows]), state)
            assert all(state[name].equal(before[name]) for name in before)  # what is passed in is never changed
            assert set(after) == given_names
            assert all(array.shape == state[name].shape for name, array in after.items())
            assert all(array.dtype == state[name].dtype for name, array in after.items())
            state = after
        whole = inputs_of(unit, [[token for piece in pieces[:steps] for token in piece] for pieces in rows])
        wanted, wanted_state = net(whole, net.initial_state(len(rows)))
        check_same({**scores, **state}, {**wanted, **wanted_state})
        torch.testing.assert_close(scores["scores"].exp().sum(1), torch.ones(len(rows)))

    check()


@torch.no_grad()
def test_a_row_with_nothing_new_keeps_its_state() -> None:
    net = net_of("word", layers=2)
    first = inputs_of("word", [["the", "cat"], ["zebra", "sat"]])
    scores, state = net(first, net.initial_state(2))
    more = inputs_of("word", [["on", "a", "mat"], ["ada"]]) | {"lengths": torch.tensor([3, 0])}
    later, after = net(more, state)
    check_same({n: a[1:] for n, a in after.items()}, {n: a[1:] for n, a in state.items()})
    torch.testing.assert_close(later["scores"][1], scores["scores"][1], atol=CLOSE, rtol=CLOSE)
    assert not torch.allclose(later["scores"][0], scores["scores"][0], atol=1e-3)


@pytest.mark.parametrize("unit", CODECS)
def test_what_looks_at_the_next_character_is_not_streamed(unit: Unit) -> None:
    encoder = Encoder(EncoderConfig(directions=1, pairs="both"), CODECS[unit].sizes)
    assert encoder.streams == (unit == "word")
    assert ["--encoder.pairs before" in reason for reason in encoder.whole] == [True] * (unit != "word")


@pytest.mark.parametrize("unit", CODECS)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_answers_as_its_rows_alone(cell: Cell, directions: int, unit: Unit) -> None:
    net = net_of(unit, cell, 2, directions)

    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(st.lists(texts_of(unit), min_size=2, max_size=4))
    @torch.no_grad()
    def check(texts: list[list[str]]) -> None:
        together, after = net(inputs_of(unit, texts), {})
        alone = [net(inputs_of(unit, [text]), {})[0]["scores"] for text in texts]
        torch.testing.assert_close(together["scores"], torch.cat(alone), atol=CLOSE, rtol=CLOSE)
        assert bool(after) == net.streams

    check()


@pytest.mark.parametrize("unit", CODECS)
@pytest.mark.parametrize("directions", [1, 2])
@torch.no_grad()
def test_what_stands_in_the_padding_changes_nothing(directions: int, unit: Unit) -> None:
    net = net_of(unit, "lstm", 2, directions)
    long, short = KNOWN[unit][:8], KNOWN[unit][3:5]
    inputs = inputs_of(unit, [short, long, short])
    outside = torch.arange(inputs["tokens"].shape[1]) >= inputs["lengths"][:, None]
    other = torch.where(outside, torch.tensor(3), inputs["tokens"])
    wider = torch.cat([other, torch.full((3, 4), 2)], 1)
    wanted, _ = net(inputs, {})
    for tokens in (other, wider):
        torch.testing.assert_close(net(inputs | {"tokens": tokens}, {})[0], wanted, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_a_token_is_its_own_vector_plus_those_of_its_ngrams(unit: Unit) -> None:
    vectors = encoder_of(net_of(unit)).vectors
    own, shared = vectors.own.weight.double(), vectors.shared.weight.double()
    text = [*KNOWN[unit][:3], UNKNOWN[unit][0], KNOWN[unit][0]]
    found, _ = vectors(inputs_of(unit, [text]), vectors.initial_state(1))
    before = 1  # the hash of a text's beginning
    for vector, token in zip(dense(found)[0].double(), text, strict=True):
        points = [WORD_START, *(ord(c) for c in token[:18]), WORD_END]
        if unit == "character":
            grams = [literal_gram([before, literal_token(points)], OF_TOKENS)]
        else:
            grams = [
                literal_gram(points[i : i + n], OF_CHARACTERS) for n in (3, 4, 5) for i in range(len(points) - n + 1)
            ]
        number = CODECS[unit].tokenizer.token_to_id(token) or 0
        wanted = own[number] + torch.stack([shared[gram % len(shared)] for gram in grams]).mean(0)
        torch.testing.assert_close(vector, wanted, atol=CLOSE, rtol=CLOSE)
        before = literal_token(points)


@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_a_settled_net_knows_its_words_and_reads_others(unit: Unit) -> None:
    torch.manual_seed(3)
    codec = CODECS[unit]
    config = EncoderConfig(embedding=6, hidden=5, buckets=64, spelling=4)
    encoder = Encoder(config, codec.sizes, torch.randn(len(codec), 3)).eval()
    texts = [KNOWN[unit][:4], [UNKNOWN[unit][0], KNOWN[unit][5], UNKNOWN[unit][1]], KNOWN[unit][6:7]]
    batches = [inputs_of(unit, some) for some in (texts, texts[1:2], texts[2:])]
    wanted = [dense(encoder.vectors(batch, encoder.initial_state(len(batch["lengths"])))[0]) for batch in batches]
    settle(encoder, torch.from_numpy(codec.spellings))
    for batch, before in zip(batches, wanted, strict=True):
        after = dense(encoder.vectors(batch, encoder.initial_state(len(batch["lengths"])))[0])
        torch.testing.assert_close(after, before, atol=HALF, rtol=0)
    sizes = {name: len(value) for name, value in encoder.vectors.state_dict().items()}
    assert sizes["own.weight"] == sizes["given.0.weight"] == (1 if unit == "word" else len(codec))
    assert sizes.get("settled.weight") == (len(codec) if unit == "word" else None)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_the_second_direction_reads_each_row_from_its_end(cell: Cell, layers: int) -> None:
    encoder = encoder_of(net_of("word", cell, layers, directions=2))
    inputs = inputs_of("word", [["the", "cat"], KNOWN["word"][2:7]])
    outputs, _ = encoder(inputs, {})
    vectors = dense(encoder.vectors(inputs, {})[0])
    assert outputs.shape == (2, 5, encoder.width)
    run = encoder_module._CELLS[cell]
    for row, length in enumerate(inputs["lengths"].tolist()):
        x = vectors[row : row + 1, :length]
        for layer in range(layers):
            ahead, back = (Weights(**encoder._weights[2 * layer + direction]) for direction in range(2))
            x = torch.cat([run(x, ahead)[0], run(x.flip(1), back)[0].flip(1)], 2)
        torch.testing.assert_close(outputs[row, :length], x[0], atol=CLOSE, rtol=CLOSE)
        assert not outputs[row, length:].any()


# The bag


def literal_ngrams(unit: Unit, text: list[str], longest: int, characters: bool) -> list[int]:
    """Hashes of all n-grams of a text, each occurrence counted."""
    spelled = [[WORD_START, *(ord(c) for c in token[:18]), WORD_END] for token in text]
    tokens = ([1] if longest > 1 else []) + [literal_token(points) for points in spelled]
    begin = len(tokens) - len(text)
    grams = [
        literal_gram(tokens[end - n : end], OF_TOKENS)
        for end in range(begin + 1, len(tokens) + 1)
        for n in range(1, longest + 1)
        if end - n >= 0
    ]
    for points in spelled if characters else []:
        grams += [
            literal_gram(points[at : at + n], OF_CHARACTERS) for n in range(2, 6) for at in range(len(points) - n + 1)
        ]
    return grams


@pytest.mark.parametrize("unit", CODECS)
def test_the_bag_is_a_weighted_sum_over_its_ngrams(unit: Unit) -> None:
    bag = bag_of(net_of(unit))
    assert (bag.longest, bag.characters) == ((2, True) if unit == "word" else (3, False))
    index, scale, rows = (
        bag.index.numpy(),
        bag.scale.numpy().astype(float),
        bag.rows.weight.detach().numpy().astype(float),
    )

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.lists(texts_of(unit), min_size=1, max_size=3))
    @torch.no_grad()
    def check(texts: list[list[str]]) -> None:
        logits, _ = bag(inputs_of(unit, texts), bag.initial_state(len(texts)))
        for found, text in zip(logits.numpy(), texts, strict=True):
            of_words = literal_ngrams(unit, text, bag.longest, False)
            of_characters = (
                Counter(literal_ngrams(unit, text, bag.longest, bag.characters)) - Counter(of_words)
            ).elements()
            wanted = bag.bias.detach().numpy().astype(float)
            for grams in (of_words, of_characters):
                total, squares = np.zeros(len(LABELS)), 0.0
                for gram in grams:
                    row = index[gram % len(index)]
                    if row:
                        total += scale[row] * rows[row]
                        squares += scale[row] ** 2
                wanted = wanted + total / max(squares, 1e-6) ** 0.5
            np.testing.assert_allclose(found, wanted * float(bag.sharpness), atol=CLOSE, rtol=CLOSE)

    check()


def prepared(config: BagConfig, unit: Unit, batches: list[list[list[str]]]) -> Bag:
    bag = Bag(config, TextSizes(len(CODECS[unit]), unit, 6.0), np.ones(len(LABELS), np.float32))
    inputs = [{name: tensor.numpy() for name, tensor in inputs_of(unit, batch).items()} for batch in batches]
    present = [np.eye(len(LABELS))[np.arange(len(batch)) % len(LABELS)] for batch in batches]
    bag.prepare(lambda: zip(inputs, present, strict=True))
    return bag


BATCHES = [[["the", "cat", "cat"], ["the", "dog"]], [["the", "cat"], ["zebra"], ["a", "the"]]]


@pytest.mark.parametrize(
    ("settings_", "kept"),
    [
        ({"min_count": 1, "words": 1, "max_weights": 6}, ["the", "cat"]),  # 3 labels: room for two n-grams
        ({"min_count": 2, "words": 1}, ["the", "cat"]),
        ({"min_count": 1, "words": 1}, ["the", "cat", "dog", "zebra", "a"]),
        ({"min_count": 4, "words": 1}, ["the"]),
        ({"min_count": 9, "words": 1}, []),
        ({"min_count": 1, "words": 1, "max_weights": 1}, ["the"]),  # never less than one
    ],
)
def test_the_most_frequent_ngrams_are_kept(settings_: dict[str, Any], kept: list[str]) -> None:
    bag = prepared(BagConfig(characters=False, **settings_), "word", BATCHES)
    texts = [text for batch in BATCHES for text in batch]
    width = len(bag.index)
    wanted = {literal_ngrams("word", [token], 1, False)[0] % width for token in kept}
    assert set(torch.nonzero(bag.index).flatten().tolist()) == wanted
    assert len(wanted) == len(kept)
    assert bag.rows.weight.shape == (len(kept) + 1, len(LABELS))
    assert sorted(bag.index[bag.index > 0].tolist()) == list(range(1, len(kept) + 1))
    of_texts = np.concatenate([np.arange(len(batch)) % len(LABELS) for batch in BATCHES])
    for token in kept:
        row = bag.index[literal_ngrams("word", [token], 1, False)[0] % width]
        inside = np.array([token in text for text in texts])
        squares = 0.0
        for label in range(len(LABELS)):
            own = of_texts == label
            ratio = np.log(((inside & own).sum() + 1) / (own.sum() + 2))
            ratio -= np.log(((inside & ~own).sum() + 1) / ((~own).sum() + 2))
            squares += own.mean() * ratio**2
        rarity = np.log((1 + len(texts)) / (1 + inside.sum())) + 1
        assert float(bag.scale[row]) == pytest.approx(rarity * squares**0.25)  # 3 labels: the root of the ratio
    assert float(bag.scale[0]) == 0


def test_pairs_and_characters_are_counted_by_text() -> None:
    bag = prepared(BagConfig(min_count=3, words=2, characters=True), "word", BATCHES)
    texts = [text for batch in BATCHES for text in batch]
    counts = Counter(gram for text in texts for gram in set(literal_ngrams("word", text, 2, True)))
    wanted = {gram % len(bag.index) for gram, count in counts.items() if count >= 3}
    assert set(torch.nonzero(bag.index).flatten().tolist()) == wanted


@pytest.mark.parametrize(
    ("unit", "mean_tokens", "chosen"),
    [
        ("word", 8.0, (2, True, 1)),
        ("word", 101.0, (3, False, 2)),
        ("subword", 8.0, (2, True, 1)),
        ("character", 8.0, (3, False, 2)),
    ],
)
def test_auto_follows_the_texts(unit: Unit, mean_tokens: float, chosen: tuple[int, bool, int]) -> None:
    bag = Bag(BagConfig(), TextSizes(10, unit, mean_tokens), np.ones(2, np.float32))
    assert (bag.longest, bag.characters, bag.min_count) == chosen
    told = Bag(
        BagConfig(words=4, characters=False, min_count=5), TextSizes(10, unit, mean_tokens), np.ones(2, np.float32)
    )
    assert (told.longest, told.characters, told.min_count) == (4, False, 5)


@torch.no_grad()
def test_a_bag_that_knows_nothing_answers_its_bias() -> None:
    bag = prepared(BagConfig(min_count=9), "word", BATCHES)
    bag.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    bag.sharpen(1 / float(bag.sharpness))
    logits, _ = bag(inputs_of("word", [["zebra"]]), bag.initial_state(1))
    assert logits.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_a_fresh_net_takes_sizes_and_weights_from_what_is_loaded(unit: Unit) -> None:
    trained = net_of(unit, layers=2)
    config = CLASSIFY.config.parse(
        {"encoder": {"layers": 2, "directions": 1, "embedding": 6, "hidden": 5, "buckets": 64}}, "the test"
    )
    fresh = CLASSIFY.net(config, CODECS[unit], LABELS).eval()
    fresh.load_state_dict(copy.deepcopy(trained.state_dict()))
    assert {name: p.shape for name, p in fresh.named_parameters()} == {
        n: p.shape for n, p in trained.named_parameters()
    }
    inputs = inputs_of(unit, [KNOWN[unit][:6], UNKNOWN[unit]])
    assert fresh(inputs, {})[0]["scores"].equal(trained(inputs, {})[0]["scores"])
    bag_of(trained).rows.weight.fill_(0)
    assert not bag_of(fresh).rows.weight.eq(0).all()  # what was loaded was copied


# The head


@often
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from([0.5, 30.0]),
    st.integers(0, 99),
)
@torch.no_grad()
def test_pooling_is_max_mean_and_softmax_attention(first: list[int], second: list[int], size: float, seed: int) -> None:
    torch.manual_seed(seed)
    rows = min(len(first), len(second))
    head = Head(HeadConfig(), width=4, labels=3).eval()
    head.attention.normal_(0, size)
    state = head.initial_state(rows)
    seen: list[list[Tensor]] = [[] for _ in range(rows)]
    for lengths in (first[:rows], second[:rows]):
        y = torch.randn(rows, max(lengths), 4)
        for row, length in enumerate(lengths):
            y[row, length:] = 0
            seen[row].append(y[row, :length])
        logits, state = head(y, torch.tensor(lengths), state)
    for row, parts in enumerate(seen):
        y = torch.cat(parts).double()
        share = torch.softmax(y @ head.attention.double(), 0)
        pooled = torch.cat([y.amax(0), y.mean(0), share @ y])
        wanted = pooled @ head.linear.weight.double().T + head.linear.bias.double()
        torch.testing.assert_close(logits[row].double(), wanted, atol=CLOSE, rtol=CLOSE)


# Loss, mixing, gradients, dropout


@torch.no_grad()
def test_the_halves_are_mixed_by_share_and_sharpened_by_temperature() -> None:
    net = net_of("word")
    inputs = inputs_of("word", [["the", "cat"], ["ada", "met", "bob"]])
    halves, _ = net.halves(inputs, net.initial_state(2))
    mixed = 0.7 * torch.log_softmax(halves["recurrent"], 1) + 0.3 * torch.log_softmax(halves["linear"], 1)
    torch.testing.assert_close(net(inputs, {})[0]["scores"], torch.log_softmax(mixed / 1.7, 1))


@torch.no_grad()
def test_the_loss_is_that_of_the_half_taught_by_steps() -> None:
    net = net_of("word")
    inputs, target = inputs_of("word", [["the", "cat"], ["ada", "met"]]), torch.tensor([2, 0])
    halves, _ = net.halves(inputs, net.initial_state(2))
    smooth = 0.9 * torch.eye(3)[target] + 0.1 / 3
    wanted = -(smooth * torch.log_softmax(halves["recurrent"], 1)).sum(1).mean()
    torch.testing.assert_close(net.loss(inputs, {"label": target}), wanted)


@pytest.mark.parametrize("unit", CODECS)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_reach_every_parameter(cell: Cell, directions: int, unit: Unit) -> None:
    net = net_of(unit, cell, 2, directions)
    inputs = inputs_of(unit, [KNOWN[unit], [*KNOWN[unit][2:6], *UNKNOWN[unit]]])
    torch.autograd.backward(net.loss(inputs, {"label": torch.tensor([0, 2])}))
    taught = {name: p for name, p in net.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in taught} == {"recurrent"}
    still = [name for name, p in taught.items() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert all(bool(p.grad.isfinite().all()) for p in taught.values() if p.grad is not None)


def test_parameters_are_in_one_group_each() -> None:
    net = net_of("word")
    train = CLASSIFY.config().train
    groups = net.parameter_groups(train)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(train.learning_rate, train.weight_decay)]


def test_a_locked_mask_is_constant_over_time() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 6, 50) + 0.5
    y = locked(x, 0.4)
    zero = y == 0
    assert zero.equal(zero[:, :1].expand_as(zero))
    assert not zero[0].equal(zero[1])  # each row has its own
    assert 0.3 < zero.float().mean() < 0.5
    torch.testing.assert_close(y[~zero], (x / 0.6)[~zero])  # what stays is scaled up
    assert locked(x, 0.0) is x


def test_blanking_takes_whole_tokens() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 40, 5) + 0.5
    y = blank(x, 0.25)
    zero = y == 0
    assert zero.equal(zero[:, :, :1].expand_as(zero))
    assert 0.15 < zero.float().mean() < 0.35
    assert y[~zero].equal(x[~zero])
    assert blank(x, 0.0) is x


def test_a_words_columns_are_dropped_wherever_it_stands() -> None:
    torch.manual_seed(0)
    table = torch.ones(200, 50)
    dropped = locked_types(table, 0.4)
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0, 1 / 0.6])
    assert 0.37 < float((dropped == 0).float().mean()) < 0.43
    assert locked_types(table, 0.0) is table


def test_blanked_places_read_zeros_and_their_words_stay() -> None:
    torch.manual_seed(0)
    x = Rows(torch.ones(3, 4), torch.randint(3, (50, 60)))
    y = blank_places(x, 0.25)
    assert torch.equal(y.table[:3], x.table)
    zero = dense(y) == 0
    assert torch.equal(zero.any(2), zero.all(2))
    assert 0.22 < float(zero.float().mean()) < 0.28
    assert torch.equal(y.index[~zero.any(2)], x.index[~zero.any(2)])
    assert blank_places(x, 0.0) is x


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("unit", CODECS)
@torch.no_grad()
def test_training_drops_inputs_of_every_layer(unit: Unit, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    run = encoder_module._CELLS["lstm"]

    def spy(x: Any, *rest: Any, **named: Any) -> Any:
        seen.append(x)
        return run(x, *rest, **named)

    monkeypatch.setitem(encoder_module._CELLS, "lstm", spy)
    torch.manual_seed(0)
    config = EncoderConfig(layers=2, directions=2, embedding=40, hidden=20, buckets=64, word_dropout=0.0)
    encoder = Encoder(config, CODECS[unit].sizes).train(training)
    encoder(inputs_of(unit, [KNOWN[unit][:8], KNOWN[unit][2:10]]), encoder.initial_state(2))
    assert len(seen) == 4
    for x, share in ((seen[0], 0.5), (seen[2], 0.3)):
        zero = dense(x) == 0
        # Words are dropped by column wherever they stand; all else by column through a whole text.
        assert isinstance(x, Rows) or zero.equal(zero[:, :1].expand_as(zero))
        found = float(zero.float().mean())
        assert abs(found - share) < 0.2 if training else found == 0.0
    assert seen[0] is seen[1]  # both directions read the same words


def test_training_is_random_and_answering_is_not() -> None:
    net = net_of("word")
    inputs, target = inputs_of("word", [KNOWN["word"]]), {"label": torch.tensor([1])}
    with torch.no_grad():
        assert net.loss(inputs, target) == net.loss(inputs, target)
        net.train()
        assert net.loss(inputs, target) != net.loss(inputs, target)


# Calibration


def random_scores(rows: int, labels: int, sharp: float, seed: int) -> tuple[Any, Any]:
    """Log-probabilities [N, L] that are right more often than not, `sharp` times too sure."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, labels)).astype(np.float32)
    target = np.array([random.choice(labels, p=np.exp(row) / np.exp(row).sum()) for row in log_softmax(2 * logits)])
    return log_softmax(2 * sharp * logits).astype(np.float32), target


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(20, 300), st.integers(2, 6), st.floats(0.2, 6.0), st.integers(0, 99))
def test_the_temperature_fits_as_well_as_any(rows: int, labels: int, sharp: float, seed: int) -> None:
    scores, target = random_scores(rows, labels, sharp, seed)
    temperature = best_temperature(scores, target)
    assert 0.1 - 1e-9 <= temperature <= 20 + 1e-9

    def loss(t: float) -> float:
        """Cross-entropy, and the prior on log t: normal, of standard deviation 0.5."""
        rows_right = log_softmax(scores / t)[np.arange(rows), target]
        return float(-rows_right.mean() + 2 * np.log(t) ** 2 / rows)

    best = min(loss(t) for t in np.geomspace(0.1, 20, 1_500))
    assert loss(temperature) <= best + 1e-5


def test_the_temperature_takes_overconfidence_back() -> None:
    scores, target = random_scores(20_000, 4, 3.0, 0)
    assert best_temperature(scores, target) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("truth", [0, 1])
def test_a_few_dev_rows_ask_neither_for_certainty_nor_for_none(truth: int) -> None:
    scores = log_softmax(np.tile(np.array([[3.0, 0.0]], np.float32), (8, 1)))
    assert 0.5 < best_temperature(scores, np.full(8, truth)) < 4


def right(target: Any) -> Callable[[Any], float]:
    """Accuracy of scores [N, L]."""
    return lambda scores: float(np.mean(scores.argmax(1) == target))


def test_the_share_is_the_usual_one_where_labels_are_many() -> None:
    scores, target = random_scores(50, 21, 1.0, 0)
    assert best_share(right(target), scores[:, ::-1], scores) == USUAL_SHARE


def test_the_share_follows_the_better_half_as_far_as_dev_can_be_trusted() -> None:
    good, target = random_scores(2_000, 3, 1.0, 0)
    noise, _ = random_scores(2_000, 3, 1.0, 1)
    linear, recurrent = best_share(right(target), noise, good), best_share(right(target), good, noise)
    # 2,000 rows count as much as the prior: a share of 1 or 0 is drawn half of the way to the usual one.
    assert USUAL_SHARE + 0.1 < linear <= (1 + USUAL_SHARE) / 2
    assert USUAL_SHARE / 2 <= recurrent < USUAL_SHARE - 0.15
    few = best_share(right(target[:20]), noise[:20], good[:20])
    assert abs(few - USUAL_SHARE) < 0.01


def test_platt_scaling_finds_the_slope_and_offset_that_were_hidden() -> None:
    random = np.random.default_rng(0)
    log_odds = random.normal(size=(20_000, 3)).astype(np.float32) * 2
    slopes, offsets = np.array([0.5, 1.0, 2.0]), np.array([-1.0, 0.0, 0.5])
    target = (random.random(log_odds.shape) < 1 / (1 + np.exp(-(slopes * log_odds + offsets)))).astype(np.float32)
    found = best_scale(log_odds, target)
    np.testing.assert_allclose(found[0], slopes, atol=0.06)
    np.testing.assert_allclose(found[1], offsets, atol=0.06)


def test_platt_scaling_leaves_a_label_without_dev_rows_near_what_it_was() -> None:
    log_odds = np.full((30, 2), -9.0, np.float32)
    log_odds[:15, 0] = 9
    target = np.zeros((30, 2), np.float32)
    target[:15, 0] = 1
    slope, offset = best_scale(log_odds, target)
    np.testing.assert_allclose(slope, 1, atol=0.1)
    np.testing.assert_allclose(offset, 0, atol=0.1)


def several_labels_net() -> Reader:
    config = CLASSIFY.config.parse(
        {"encoder": {"embedding": 6, "hidden": 5, "buckets": 64}, "linear": {"min_count": 1}}, "the test"
    )
    net = CLASSIFY.net(config, CODECS["word"], LabelSetCodec(("a", "b", "c"), (4, 4, 4)))
    assert isinstance(net, Reader)
    return net.eval()


@torch.no_grad()
def test_labels_of_a_text_that_may_have_several_do_not_compete() -> None:
    net = several_labels_net()
    inputs = inputs_of("word", [["the", "cat"], ["ada", "met", "bob"]])
    target = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    halves, _ = net.halves(inputs, net.initial_state(2))
    assert net(inputs, {})[0]["scores"].equal(torch.nn.functional.logsigmoid(halves["recurrent"]))  # until dev decides
    net.share.fill_(0.5)
    mixed = (halves["recurrent"] + halves["linear"]) / 2
    torch.testing.assert_close(net(inputs, {})[0]["scores"], torch.nn.functional.logsigmoid(mixed))
    smooth = target * 0.95 + (1 - target) * 0.1 / 6
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(net.loss(inputs, {"label": target}), 3 * bce(halves["recurrent"], smooth))
    told = net.calibrate(iter([(inputs, {"label": target})]), float)
    assert set(told) == {"recurrent_alone", "linear_alone", "together", "linear_share", "mean_slope", "mean_offset"}


@torch.no_grad()
def test_calibrating_sets_share_and_temperature_and_leaves_unseen_labels_out() -> None:
    net = net_of("word")
    random = np.random.default_rng(0)
    texts = [list(random.choice(KNOWN["word"], 5)) for _ in range(12)]
    labels = torch.from_numpy(random.integers(0, 3, 12))

    def batches(target: Tensor) -> Iterator[tuple[Inputs, Inputs]]:
        for start in (0, 6):
            yield inputs_of("word", texts[start : start + 6]), {"label": target[start : start + 6]}

    told = net.calibrate(batches(labels), float)
    assert set(told) == {"recurrent_alone", "linear_alone", "together", "linear_share", "temperature"}
    assert told["linear_share"] == float(net.share)
    assert told["temperature"] == pytest.approx(1 / float(net.output.slope))
    halves, _ = net.halves(inputs_of("word", texts), net.initial_state(12))
    for name, logits in halves.items():
        assert told[f"{name}_alone"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    some = labels.clone()
    some[::3] = -1
    seen = some >= 0
    told = net.calibrate(batches(some), float)
    hits = halves["linear"][seen].argmax(1) == labels[seen]
    assert told["linear_alone"] == pytest.approx(float(hits.float().mean()))
