"""The benchmark of tagging: contestants take the same steps, what they say is checked, its record is drawn."""

import gzip
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cellgate import bench
from cellgate.bench import blocks, child, flair_steps, results, tag_sets, tagging
from cellgate.bench.sizes import Sizes
from cellgate.cli import run
from cellgate.errors import UsageError, WorkError
from cellgate.fit.prepare import load_prepared

SENTENCES = [("the", "DET"), ("cat", "NOUN"), ("sleeps", "VERB")], [("a", "DET"), ("dog", "NOUN")]
NAMED = [("Ada", "B-PER"), ("Smith", "I-PER"), ("met", "O"), ("Bob", "B-PER")], [("rain", "O"), ("in", "O")]
RECORD = {"bench": "tagging", "set": "wikiann_en", "threads": 2, "trained": "BiLSTM", "left_out": {}}
STAMP = {
    "machine": {"cpu": "Abacus 3000", "cores": 2, "memory_gb": 24},
    "commit": "abc1234",
    "date": "2026-01-02T03:04:05+00:00",
    "command": "cellgate bench tagging",
}

# Says what Flair's script would say, of the same file.
FAKE = """
import json, sys
given = json.load(open(sys.argv[1]))
assert len(given["texts"]) == len(given["tags"]) and sys.argv[2] == "1"
print(json.dumps({"versions": {"flair": "0.0"}}), flush=True)
for line in sys.stdin:
    rows = [row for batch in json.loads(line)["batches"] for row in batch]
    tokens = sum(len(given["texts"][row]) for row in rows) + LOST
    print(json.dumps({"seconds": 0.5, "tokens": tokens}), flush=True)
"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both sets, small."""
    monkeypatch.setenv("CELLGATE_DATA", str(tmp_path))
    monkeypatch.setattr(tagging, "sgemm_gflops", lambda: 100.0)  # never slow
    english, wikiann = tmp_path / "ud_english_ewt", tmp_path / "wikiann_en"
    english.mkdir()
    wikiann.mkdir()
    lines = ["\n".join(_conllu(*word) for word in enumerate(sentence, 1)) for sentence in SENTENCES]
    for part in ("train", "dev", "test"):
        times = 400 if part == "train" else 6  # enough rows that a step's number of them is a tagger's
        _write(english / f"en_ewt-ud-{part}.conllu.gz", lines * times)
        rows = ["\n".join(f"en:{token}\t{tag}" for token, tag in sentence) for sentence in NAMED]
        _write(wikiann / f"{part}.tsv.gz", rows * times)
    return tmp_path


def _conllu(number: int, word: tuple[str, str]) -> str:
    return "\t".join([str(number), word[0], "_", word[1], *"______"])


def _write(path: Path, sentences: Sequence[str]) -> None:
    path.write_bytes(gzip.compress("".join(f"{sentence}\n\n" for sentence in sentences).encode()))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "fake.py"
    script.write_text(f"LOST = 0\n{FAKE}", "utf-8")
    monkeypatch.setattr(flair_steps, "__file__", str(script))
    monkeypatch.setattr(tagging, "_check_flair", lambda python: None)
    return script


def trained(folder: Path, name: str, flair: Path | None = None) -> dict[str, Any]:
    """What the benchmark of training says."""
    folder.mkdir()
    sizes = Sizes(threads=1, rounds=2, flair_python=flair)
    return tagging._training(tag_sets.SETS.files(name, folder), folder, 1, sizes)


@pytest.mark.parametrize("name", tagging.SETS)
def test_contestants_take_turns_on_the_same_tokens(name: str, tmp_path: Path, fake: Path) -> None:
    told = trained(tmp_path / "made", name, Path(sys.executable))["training"]
    ours, flair = told["arms"]["ours"], told["arms"]["flair"]
    assert ours["tokens_per_second"] > 0
    assert flair["ours_is_faster"] == pytest.approx(ours["tokens_per_second"] / flair["tokens_per_second"], rel=0.01)
    assert flair["versions"] == {"flair": "0.0"}
    assert ours["peak_mb"] > flair["peak_mb"] > 1
    assert told["rounds_kept"] == 2
    given = json.loads((tmp_path / "made" / "flair.json").read_text("utf-8"))
    assert {tuple(tokens) for tokens in given["texts"]} == {
        tuple(token for token, _ in sentence) for sentence in (SENTENCES if name == "ud_english_ewt" else NAMED)
    }
    assert set(given["words"]) == {token for tokens in given["texts"] for token in tokens}
    assert all(len(tags) == len(tokens) for tags, tokens in zip(given["tags"], given["texts"], strict=True))
    assert len(load_prepared(tmp_path / "made" / "prepared").train) < len(given["texts"]) == 800


def test_one_that_trains_on_other_tokens_is_found_out(tmp_path: Path, fake: Path) -> None:
    fake.write_text(f"LOST = 1\n{FAKE}", "utf-8")
    with pytest.raises(WorkError, match=r"flair trained on .* tokens where the batches have"):
        trained(tmp_path / "made", "ud_english_ewt", Path(sys.executable))


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit('no such luck')",
        "print('{\"versions\": {}}', flush=True); import sys; sys.exit('no such luck')",
        "import sys; print('no such luck', file=sys.stderr, flush=True); print('hm', flush=True); input()",
    ],
)
def test_one_that_ends_is_quoted(code: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", code]
    with pytest.raises(WorkError, match="no such luck"), blocks.contestant(command, tmp_path, os.environ) as one:
        one.take([[0]])


def test_a_python_without_flair_is_refused_before_any_work(tmp_path: Path) -> None:
    for python, said in ((sys.executable, "No module named 'flair'"), (str(tmp_path / "none"), "No such file")):
        with pytest.raises(UsageError, match=f"--flair-python {python}: .*{said}.*name a Python that can import flair"):
            next(tagging.tagging(Sizes(flair_python=Path(python))))


def test_flair_itself_takes_steps(tmp_path: Path) -> None:
    python = os.environ.get("CELLGATE_FLAIR_PYTHON")
    if not python:
        pytest.skip("CELLGATE_FLAIR_PYTHON names no Python that has Flair")
    told = trained(tmp_path / "made", "wikiann_en", Path(python))["training"]["arms"]["flair"]
    assert told["tokens_per_second"] > 0
    assert told["versions"]["flair"]


def test_answers_are_timed_without_what_starting_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def fake_run(command: list[str], folder: Path) -> child.Finished:
        asked.append(command[3:])
        if command[3] == "train":
            return child.run(command, folder)
        return child.Finished(3.0 if command[5] == "first.conllu" else 13.0, child.Memory(peak_rss=9_000_000), "")

    monkeypatch.setattr(tagging, "run", fake_run)
    monkeypatch.setattr(tagging, "_ASKED_TOKENS", 100)
    files = tag_sets.SETS.files("ud_english_ewt", tmp_path)
    told = tagging._answering("ud_english_ewt", files, tmp_path, Sizes(rounds=2, max_steps=2))
    assert told["tokens"] == 4 * 30 - 3  # six times two sentences of 3 and 2, repeated; less the first
    assert (told["tokens_per_second"], told["start_seconds"], told["peak_mb"]) == (12, 3.0, 9.0)
    assert asked[0][-2:] == ["--train.max-steps", "2"]
    assert asked[1:3] == [["predict", "bundle", f"{of}.conllu", "--format", "conll"] for of in ("first", "whole")]
    assert (tmp_path / "first.conllu").read_text("utf-8").count("\t") == 3 * 9
    assert (tmp_path / "whole.conllu").read_text("utf-8").count("\n\n") == 4 * 12
    assert child.run([*child.CELLGATE, *asked[2]], tmp_path).stdout.count("\n\n") == 4 * 12


def test_a_record_says_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "_answering", lambda name, files, folder, sizes: {"tokens_per_second": 50_000})
    monkeypatch.setattr(tagging, "_training", lambda files, folder, threads, sizes: {"trained": "", "training": {}})
    first, second = bench.run("speed", ["tagging"], sizes=Sizes(threads=1, rounds=2))
    assert [first["set"], second["set"]] == list(tagging.SETS)
    assert first["left_out"] == {"flair": "no --flair-python: name an interpreter of an environment with Flair"}
    assert first["command"].endswith("bench tagging --threads 1 --rounds 2 --max-steps 200")
    assert first["versions"]["torch"]


def test_a_record_is_drawn_with_targets() -> None:
    answering = {"tokens_per_second": 41_000, "tokens": 200_745, "start_seconds": 0.5, "peak_mb": 148.0}
    ours = {"tokens_per_second": 20_000, "ours_is_faster": 1.0, "peak_mb": 575.0, "versions": {"torch": "2"}}
    flair = {"tokens_per_second": 8_000, "ours_is_faster": 2.5, "peak_mb": 1100.0, "versions": {"flair": "0.15.1"}}
    with_flair = {**RECORD, "answering": answering, "training": {"arms": {"ours": ours, "flair": flair}}, **STAMP}
    alone = {
        **with_flair,
        "set": "ud_english_ewt",
        "training": {"arms": {"ours": ours}},
        "left_out": {"flair": "not given"},
    }
    page = results.render([with_flair, alone])
    stamped = "A | abc1234 | 2026-01-02 |"
    reached = "41,000 (target ≥ 40,000: reached) | 200,745 | 0.5 s | 148 MB"
    assert f"| wikiann_en | {reached} | - | {stamped}" in page
    assert f"| ud_english_ewt | {reached} | Flair: not given | {stamped}" in page
    assert f"| wikiann_en | ours | 20,000 | - | 575 MB | 2 | torch 2 | {stamped}" in page
    slower = "8,000 | 2.50 x (target ≥ 3.00 x: not reached) | 1,100 MB | 2 | flair 0.15.1"
    assert f"| wikiann_en | Flair | {slower} | {stamped}" in page
    assert "- Trained: BiLSTM" in page


def test_the_command_passes_sizes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Sizes] = []

    def measured(sizes: Sizes) -> Iterator[dict[str, object]]:
        asked.append(sizes)
        yield {"bench": "tagging"}

    monkeypatch.setattr(tagging, "tagging", measured)
    assert run(["bench", "tagging", "--flair-python", "there/python", "--rounds", "3", "--json"]) == 0
    assert asked == [Sizes(rounds=3, flair_python=Path("there/python"))]
    assert capsys.readouterr().out == '{"bench": "tagging"}\n'
    assert run(["bench", "--help"]) == 0
    assert "tagging" in capsys.readouterr().out
