"""A text in pieces is answered as the whole: tokens, scores, saved sessions, and what is refused."""

import json
import random
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import normalizers

from cellgate.bundle import Bundle
from cellgate.cli import run
from cellgate.codecs import Decision, LabelSetCodec, TextCodec, learn_tags
from cellgate.codecs.text import EMPTY_ID
from cellgate.config import TextConfig
from cellgate.errors import DataError, UsageError
from cellgate.stream import Running
from cellgate.task import Prediction, find
from cellgate.text.pieces import LONGEST_RUN, Tail, settled, stream_safe
from cellgate.training import train
from tests.conftest import TINY

TEXTS = {
    "English": "I can't say it's bad: the zip held, the colour didn't. Don’t buy two!",
    "Chinese": "包装很好，客服也很耐心；用了三天就坏了。２０２４年买的①个",
    "mixed": "Great sound 音质很好 and 便宜 cheap ﬁne ＦＵＬＬ　ｗｉｄｔｈ",
    "emoji": "lovely 👩‍👩‍👧‍👦 and 👍🏽, flags 🇨🇳🇺🇸 too 🤷🏽‍♀️!",
    "marks": "cafe\u0301 nai\u0308ve a\u0323\u0307 a\u0307\u0323 \u0301alone 각 re\u0301sume\u0301 이상",
    "Hangul": "\u1112\u1161\u11ab\u1100\u1173\u11af 한글 ㅎㅏㄴ ㅋㅋㅋ ㅠㅠ ﾊﾝｸﾞﾙ",
    "lines": "one\r\ntwo\r\n\r\nthree\rfour\u2028five\u0085six",
    "spaces": "   \t\n ",
    "nothing": "",
}


def _alike(found: Running, wanted: Prediction) -> None:
    assert found.value == wanted.value
    assert found.confidence == pytest.approx(wanted.confidence, abs=1e-5)
    assert [each.value for each in found.alternatives] == [each.value for each in wanted.alternatives]
    for ours, theirs in zip(found.alternatives, wanted.alternatives, strict=True):
        assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-5)


def _cut(data: bytes, chance: random.Random) -> list[bytes]:
    """Up to twelve pieces, cut anywhere."""
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 1, 2, 11))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.fixture(scope="module", params=["word", "character", "subword"])
def one_way(request: pytest.FixtureRequest, reviews: list[dict[str, str]], tmp_path_factory: Any) -> Bundle:
    config = {
        "encoder": TINY["encoder"] | {"directions": 1, "layers": 2 if request.param == "word" else 1},
        "train": {"max_steps": 15, "threads": 1},
        "text": {"unit": request.param},
    }
    return train("classify", reviews, folder=tmp_path_factory.mktemp("one") / "way", config=config)


def _words(bundle: Bundle) -> TextCodec:
    assert isinstance(bundle.source, TextCodec)
    return bundle.source


@pytest.mark.parametrize("name", TEXTS)
def test_pieces_cut_anywhere_are_the_whole(one_way: Bundle, name: str) -> None:
    (wanted,) = one_way.predict([TEXTS[name]])
    data = TEXTS[name].encode()
    chance = random.Random(name)
    single = [data[place : place + 1] for place in range(len(data))]
    for pieces in [single, *(_cut(data, chance) for _ in range(8))]:
        session = one_way.session()
        counts = [session.feed(piece).tokens for piece in pieces]
        found = session.finish()
        _alike(found, wanted)
        assert found.tokens == len(_words(one_way).offsets(TEXTS[name])) >= sum(counts)


def test_characters_cut_anywhere_are_the_whole_too(one_way: Bundle) -> None:
    text = " ".join(TEXTS.values())
    session = one_way.session()
    for character in text:
        session.feed(character)
    _alike(session.finish(), one_way.predict([text])[0])


def test_the_answer_so_far_is_that_of_the_tokens_so_far(one_way: Bundle) -> None:
    session = one_way.session()
    _alike(session.answer(), one_way.predict([""])[0])
    session.feed("The zip held, but the col")
    certain_by_now = "The zip held, but the co" if one_way.source.unit == "character" else "The zip held, but the"
    _alike(session.answer(), one_way.predict([certain_by_now])[0])
    session = one_way.session()
    each = [*session.each("The zip held, but"), session.finish()]
    assert each[-1].tokens == len(_words(one_way).offsets("The zip held, but"))
    assert [answer.tokens for answer in each] == sorted({answer.tokens for answer in each})
    _alike(each[-1], one_way.predict(["The zip held, but"])[0])


def test_a_long_text_is_not_cut_short(one_way: Bundle) -> None:
    text = "the zip held 很好, " * 900
    unlimited = replace(one_way, source=replace(_words(one_way), max_tokens=10**6))
    assert one_way.predict([text])[0].cut
    session = one_way.session()
    for start in range(0, len(text), 5_000):
        session.feed(text[start : start + 5_000])
    _alike(session.finish(), unlimited.predict([text])[0])


def test_what_was_decided_on_dev_holds_in_a_stream(one_way: Bundle) -> None:
    """Abstaining, texts out of scope, and thresholds of several labels."""
    text = "the zip held"
    (plain,) = one_way.predict([text])
    careful = one_way.abstaining_below(min(0.999, plain.confidence + 0.001))
    elsewhere = replace(one_way, decision=Decision(out_of_scope="elsewhere", scope_ends=0.01))
    labels = LabelSetCodec(one_way.target.labels, one_way.target.rows)
    several = replace(one_way, target=labels, decision=Decision(thresholds=(0.01, 0.02)))
    for bundle, value in ((careful, None), (elsewhere, "elsewhere"), (several, one_way.target.labels)):
        session = bundle.session()
        session.feed(text)
        found = session.finish()
        _alike(found, bundle.predict([text])[0])
        assert found.value == value


# Tokens


_ODD = (
    "ab'’-. \n\r\t\x1c日本你，。ㅋㅠㅏㄱㄳ각ᄀ한ᆨ가éÉẞİIß1٣ﬁ①\u0301\u0308\u0323\u200d👨👩🏽ｶﾞｱ\u3099\u09c7\u09be"
    "\U00016d67\ufeff\u00a0\u2003\ufdfa\u034f\u0344\u1161\ud800=\u0338\u0f71\u0f72\u0f80"
)


def _codec(unit: str, **settings: Any) -> TextCodec:
    config = TextConfig.parse({"unit": unit, "min_count": 1, "max_tokens": 10**7, **settings}, "test")
    return TextCodec.learn(config, ["the cat can't sit", "日本 你好 the's", "café 각 한국 can't a'b"])


def _in_pieces(codec: TextCodec, pieces: Sequence[str]) -> tuple[list[int], list[int], int]:
    """Tokens and characters of unknown ones, and the longest tail."""
    tail, longest = Tail(), 0
    tokens, unknown = list[int](), list[int]()
    for place, piece in enumerate([*pieces, ""]):
        columns, tail = codec.certain(tail, piece, last=place == len(pieces))
        tokens += columns["tokens"].values.tolist()
        unknown += columns["unknown"].values.tolist()
        longest = max(longest, len(tail.raw) + len(tail.word))
    assert tail == Tail(begun=True)
    return tokens, unknown, longest


def _whole(codec: TextCodec, text: str) -> tuple[list[int], list[int]]:
    columns = codec.encode([text])
    tokens: list[int] = columns["tokens"].values.tolist()
    return [] if tokens == [EMPTY_ID] else tokens, columns["unknown"].values.tolist()


@pytest.mark.parametrize("settings", [{}, {"nfkc": False}, {"lowercase": False}], ids=["usual", "no NFKC", "case"])
@pytest.mark.parametrize("unit", ["word", "character", "subword"])
def test_tokens_of_pieces_are_those_of_the_whole(unit: str, settings: dict[str, Any]) -> None:
    codec, chance = _codec(unit, **settings), random.Random(7)
    for _ in range(400):
        letters = chance.sample(_ODD, chance.choice((2, 3, 8, len(_ODD))))
        text = "".join(chance.choice(letters) * chance.choice((1,) * 20 + (3, 255, 256)) for _ in range(20))
        places = sorted(chance.randrange(len(text) + 1) for _ in range(chance.choice((1, 3, 30))))
        pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
        tokens, unknown, _ = _in_pieces(codec, pieces)
        assert (tokens, unknown) == _whole(codec, text), (text, places)


@pytest.mark.parametrize("unit", ["word", "character", "subword"])
@pytest.mark.parametrize(
    "text",
    ["x" * 300_000, "é" * 300_000, "can't'" + "t" * 300_000, "a" + "\u0301\u0323" * 50_000, "\u1161" * 100_000],
    ids=["letters", "accents", "apostrophe", "marks", "vowels of Hangul"],
)
def test_a_word_without_end_is_not_held(unit: str, text: str) -> None:
    codec = _codec(unit)
    tokens, unknown, longest = _in_pieces(codec, [text[start : start + 997] for start in range(0, len(text), 997)])
    assert (tokens, unknown) == _whole(codec, text)
    assert longest < 1_000


def test_a_word_has_256_characters_at_most() -> None:
    codec = _codec("word")
    assert codec.offsets("x" * 600) == [(0, 256), (256, 512), (512, 600)]
    assert codec.offsets("x" * 255 + "'t") == [(0, 257)]
    assert codec.offsets("x" * 256 + "'t") == [(0, 256), (256, 257), (257, 258)]


def test_what_a_text_is_parted_before_joins_nothing() -> None:
    """Of every character and what it may meet: normalised apart and together they are the same."""
    nfkc = normalizers.NFKC()
    usual = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.NFKC()])
    known = [chr(code) for code in range(1, 0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")]
    assert len(known) > 100_000
    apart = [character for character in known if settled("e" + character) >= 1]
    assert len(apart) > 0.97 * len(known)
    closed = [character for character in known if settled(character) == 1]
    met = ["e", "か", "\u1100", "가", "\u09c7", "\u1025", "<", " ", "\u0301", "İ", "\U00016d63"]
    for normal in (nfkc.normalize_str, usual.normalize_str):
        alone = [normal(character) for character in apart]
        for before in met:  # \x00 parts the pairs, and is nothing to either
            pairs = normal("\0".join(before + character for character in apart)).split("\0")
            kept = normal(before)
            assert pairs == [kept + character for character in alone], before
        alone = [normal(character) for character in closed]
        for behind in ("\u0301", "\u0338", "\u1161", "\u3099", "\u09be", "e"):
            pairs = normal("\0".join(character + behind for character in closed)).split("\0")
            kept = normal(behind)
            assert pairs == [character + kept for character in alone], behind


def test_only_runs_that_no_script_has_are_parted() -> None:
    run = "a" + "\u0301" * LONGEST_RUN
    assert stream_safe(run) == run
    assert stream_safe(run + "\u0301b") == run + "\u034f\u0301b"
    assert stream_safe("ㅋ" * 500) == "ㅋ" * 500


# Bytes


def test_bytes_that_are_no_utf_8_are_replaced_and_counted(one_way: Bundle) -> None:
    chance = random.Random(1)
    for _ in range(30):
        parts = [
            chance.choice(("好".encode(), b"a ", b"\xff", b"\xe9\x9d", b"\xf0\x9f", b"\xed\xa0\x80", b"\xef\xbf\xbd"))
        ]
        parts += [chance.choice((b"the ", b"\x80", "很".encode()[: chance.randrange(4)])) for _ in range(9)]
        data = b"".join(parts)
        session = one_way.session()
        for piece in _cut(data, chance):
            session.feed(piece)
        text = data.decode("utf-8", "replace")
        _alike(session.finish(), one_way.predict([text])[0])
        assert session.replaced == text.count("\ufffd") - data.count(b"\xef\xbf\xbd")


def test_or_refused_by_their_place(one_way: Bundle) -> None:
    session = one_way.session(invalid="refuse")
    session.feed("好".encode() + b"a\xe9")
    with pytest.raises(DataError, match=r"byte 4 of the text \(e9\) is not UTF-8"):
        session.feed(b"b c d ")
    assert session.tokens == one_way.session().feed("好a").tokens
    session.feed(b"\x9d\x9e ")  # as if the bad piece had never been
    session.feed(b"bad \xe9")
    with pytest.raises(DataError, match=r"byte 12 of the text"):
        session.finish()
    with pytest.raises(UsageError, match="'ignore'; there are: replace, refuse"):
        one_way.session(invalid="ignore")  # type: ignore[arg-type]


def test_a_byte_order_mark_is_no_character(one_way: Bundle) -> None:
    session = one_way.session()
    for byte in "\ufeffgood".encode():
        session.feed(bytes([byte]))
    assert session.finish().tokens == len(_words(one_way).offsets("good"))


def test_text_cannot_follow_half_a_character(one_way: Bundle) -> None:
    session = one_way.session()
    session.feed("好".encode()[:2])
    with pytest.raises(UsageError, match="bytes that end inside a character"):
        session.feed("text")


def test_an_ended_session_takes_nothing_more(one_way: Bundle, tmp_path: Path) -> None:
    session = one_way.session()
    found = session.finish()
    assert session.answer() == found
    with pytest.raises(UsageError, match="has ended; open another"):
        session.feed("more")
    with pytest.raises(UsageError, match="has ended; save it before"):
        session.save(tmp_path / "late")


# Saved sessions


_GO_ON = """
import sys
import cellgate
folder, saved, text = sys.argv[1:]
bundle = cellgate.open(folder)
data = text.encode()
for place in range(len(data) + 1):
    session = bundle.session(f"{saved}/{place}")
    session.feed(data[place:])
    print(repr((session.finish(), session.replaced)))
assert "torch" not in sys.modules
"""


def test_another_process_goes_on_from_any_byte(one_way: Bundle, tmp_path: Path) -> None:
    text = "Great zip 很好, cafe\u0301 d"
    data, wanted = text.encode(), []
    going = one_way.session()
    for place in range(len(data) + 1):
        going.save(tmp_path / str(place))
        here = one_way.session()
        for byte in data[:place]:
            here.feed(bytes([byte]))
        here.feed(data[place:])
        wanted.append(repr((here.finish(), here.replaced)))
        going.feed(data[place : place + 1])
    words = [sys.executable, "-c", _GO_ON, str(one_way.folder), str(tmp_path), text]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == wanted, done.stderr


def test_what_is_saved_does_not_grow(one_way: Bundle, tmp_path: Path) -> None:
    sizes = []
    session = one_way.session()
    for count in (10, 10_000):
        session.feed("the zip held. " * count)
        session.save(tmp_path / "saved")
        sizes.append((tmp_path / "saved").stat().st_size)
    assert sizes[1] - sizes[0] < 20
    assert sizes[1] < 20_000


def test_a_damaged_save_and_that_of_another_bundle_are_refused(one_way: Bundle, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    one_way.session().save(saved)
    content = saved.read_bytes()
    for place in (25, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(DataError, match="saved is damaged"):
            one_way.session(saved)
    saved.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="saved is damaged"):
        one_way.session(saved)
    saved.write_bytes(b"PK" + content)
    with pytest.raises(DataError, match="is no saved session"):
        one_way.session(saved)
    with pytest.raises(DataError, match=r"no file .*nowhere"):
        one_way.session(tmp_path / "nowhere")
    saved.write_bytes(content)
    other = replace(one_way, manifest={**one_way.manifest, "checksum": "another"})
    with pytest.raises(DataError, match="is of another Bundle"):
        other.session(saved)


# Refusals


def test_a_net_that_reads_both_ways_says_so(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"reads both ways: train with --encoder\.directions 1; `predict` answers"):
        bundle.session()


def test_a_bundle_of_before_reasons_were_told_says_that(bundle: Bundle) -> None:
    graph = {name: value for name, value in bundle.manifest["graph"].items() if name != "whole"}
    with pytest.raises(UsageError, match="was made before Bundles said why; train it again"):
        replace(bundle, manifest={**bundle.manifest, "graph": graph}).session()


def test_tags_are_of_whole_texts() -> None:
    task = find("tag")
    texts, spans = ([getattr(row, name) for row in task.toy] for name in task.fields)
    source, target = TextCodec.learn(TextConfig(), texts, places=True), learn_tags(spans)
    (reason,) = task.net(task.config.parse({"encoder": {"directions": 1}}, "test"), source, target).whole
    assert reason.startswith("the best tags of a text's beginning depend on its end")


# The command line


def _stream(folder: Path, *words: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cellgate", "stream", str(folder), *words]
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


def test_a_file_or_a_pipe_is_one_text(one_way: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "The zip held.\nIt's 很好!\n"
    (wanted,) = one_way.predict([text])
    (tmp_path / "text.txt").write_text(text, "utf-8")
    assert run(["stream", str(one_way.folder), str(tmp_path / "text.txt"), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["last"] for each in told] == [False, True]
    value = list(wanted.value) if isinstance(wanted.value, tuple) else wanted.value
    assert told[-1]["label"] == value
    assert told[-1]["confidence"] == pytest.approx(wanted.confidence, abs=1e-5)
    assert told[-1]["tokens"] == len(_words(one_way).offsets(text))
    done = _stream(one_way.folder, given=text.encode() + b"\xff")
    assert b"1 place was not UTF-8" in done.stderr
    assert done.stdout.count(b"\n") == 2


def test_each_line_is_a_text_of_its_own(one_way: Bundle, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = ["the zip held", "", "很好" * 50_000, "It's bad\r", "last"]
    (tmp_path / "lines.txt").write_text("\n".join(lines), "utf-8", newline="")
    assert run(["stream", str(one_way.folder), str(tmp_path / "lines.txt"), "--each-line", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["tokens"] for each in told] == [len(_words(one_way).tokenizer.encode(line).ids) for line in lines]
    for each, wanted in zip(told, one_way.predict(lines), strict=True):
        if not wanted.cut:
            assert each["confidence"] == pytest.approx(wanted.confidence, abs=2e-6)
    (tmp_path / "lines.txt").write_bytes(b"good\nb\xffad\n")
    assert run(["stream", str(one_way.folder), str(tmp_path / "lines.txt"), "--each-line", "--invalid", "refuse"]) == 2
    assert "line 2: byte 1 of the text (ff) is not UTF-8" in capsys.readouterr().err


def test_a_text_may_be_decided_early(one_way: Bundle, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = "The zip held, the sound is great, it is lovely, all good. " * 20
    each = list(one_way.session().each(text))
    level = sorted(answer.confidence for answer in each)[len(each) // 2]
    first = next(answer for answer in each if answer.value is not None and answer.confidence >= level)
    (tmp_path / "text.txt").write_text(f"{text}\n{text}", "utf-8")
    words = ["stream", str(one_way.folder), str(tmp_path / "text.txt"), "--json", "--decide-at", str(level)]
    assert run(words) == 0
    (told,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (told["tokens"], told["last"]) == (first.tokens, True)
    assert run([*words, "--each-line"]) == 0
    assert [json.loads(line)["tokens"] for line in capsys.readouterr().out.splitlines()] == [first.tokens] * 2


def test_a_stream_is_saved_and_goes_on(one_way: Bundle, tmp_path: Path) -> None:
    saved = str(tmp_path / "saved")
    first = _stream(one_way.folder, "--save", saved, given=b"The zip he")
    second = _stream(one_way.folder, "--restore", saved, "--json", given=b"ld, bad")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    told = json.loads(second.stdout.splitlines()[-1])
    assert told["confidence"] == pytest.approx(one_way.predict(["The zip held, bad"])[0].confidence, abs=2e-6)


def test_a_decided_stream_is_saved_behind_all_that_was_read(one_way: Bundle, tmp_path: Path) -> None:
    saved = str(tmp_path / "saved")
    first = _stream(one_way.folder, "--decide-at", "0", "--save", saved, "--json", given=b"The zip held, the sou")
    assert json.loads(first.stdout)["tokens"] == 1
    assert b"tokens, not behind the decision" in first.stderr
    second = _stream(one_way.folder, "--restore", saved, "--json", given=b"nd is bad")
    told = json.loads(second.stdout.splitlines()[-1])
    (wanted,) = one_way.predict(["The zip held, the sound is bad"])
    assert told["confidence"] == pytest.approx(wanted.confidence, abs=2e-6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.txt"], "no file 'nowhere.txt'"),
        (["--decide-at", "1.5"], "--decide-at 1.5: give a probability"),
        (["--each-line", "--save", "x"], "--save and --restore are for one text"),
        (["--save", "no/folder"], "--save no/folder: there is no folder no; make it first"),
        (["--restore", "nowhere"], "no file 'nowhere'; name one that a session saved"),
    ],
)
def test_what_is_asked_wrongly_is_a_sentence(
    one_way: Bundle, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["stream", str(one_way.folder), *words]) == 2
    assert sentence in capsys.readouterr().err
