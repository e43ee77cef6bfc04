"""Benchmarks: sets are read whole, the yardstick's rule, what a record says, and the page drawn from records."""

import csv
import dataclasses
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cellgate import bench
from cellgate.bench import child, invented, machine, quality, results, sets, tables, tag_sets, text_sets
from cellgate.bench.linear import Features, of_labels, yardstick
from cellgate.bench.sets import Splits
from cellgate.bench.sizes import Sizes
from cellgate.data.columns import choose_columns
from cellgate.data.readers import open_table
from cellgate.data.records import Records
from cellgate.data.wanted import Marks
from cellgate.errors import DataError, UsageError, WorkError
from cellgate.metrics import by_label, labels_of
from cellgate.task import find

DOCS = Path(__file__).parents[1] / "docs"
SIZES = {  # rows of train, dev and test as data/README.md counts them, and labels; of a set in folds, the first
    "ag_news_noisy": (10_000, None, 7_600, 4),
    "banking77": (10_003, None, 3_080, 77),
    "chnsenticorp": (9_600, 1_200, 1_200, 2),
    "chnsenticorp_unseen": (9_600, 1_200, 869, 2),
    "clinc150": (15_000, 3_000, 4_500, 150),
    "clinc150_scope": (15_100, 3_100, 5_500, 151),
    "dbpedia14": (11_200, None, 2_800, 14),
    "financial_phrasebank": (3_870, None, 968, 3),
    "imdb": (25_000, None, 25_000, 2),
    "imdb_1000": (1_000, None, 25_000, 2),
    "imdb_1000_pretrained": (1_000, None, 25_000, 2),
    "imdb_to_mr": (25_000, None, 10_662, 2),
    "imdb_to_sst2": (25_000, None, 1_821, 2),
    "reuters21578": (9_603, None, 3_299, 115),
    "sms_spam": (4_136, None, 1_035, 2),
    "sst2": (6_920, 872, 1_821, 2),
    "thucnews_titles": (59_756, 10_000, 10_000, 10),
    "toutiao_5k": (5_000, 999, 999, 15),
    "trec": (5_452, None, 500, 6),
}
TEST_ROWS = {  # of the sets of tags
    "cluener2020": 1_343,
    "msra_ner": 4_631,
    "resume_ner": 477,
    "ud_chinese_gsd_v1": 500,
    "ud_chinese_gsd_v1_words": 500,
    "ud_english_ewt": 2_077,
    "wikiann_en": 10_000,
    "wnut17": 1_287,
}
STAMP = {
    "machine": {"cpu": "Abacus 3000", "cores": 2, "memory_gb": 24, "python": "3.11.7", "platform": "Linux"},
    "commit": "abc1234",
    "date": "2026-01-02T03:04:05+00:00",
    "command": "python -m cellgate train classify train.csv",
}


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELLGATE_DATA", str(tmp_path))
    return tmp_path


def quality_record(**figures: object) -> dict[str, object]:
    linear = {"sklearn_tokens": {"accuracy": 0.8, "seconds": 1.0}, "our_tokens": {"accuracy": 0.9, "seconds": 1.0}}
    record = {"bench": "quality", "set": "imdb", "seed": 0, "accuracy": 0.91, "macro_f1": 0.9, "n": 25_000}
    return {**record, "train_seconds": 90.0, "peak_mb": 700.0, "bundle_mb": 100.0, "linear": linear, **STAMP, **figures}


def require_set(find_folder: Callable[[str], Path], name: str) -> None:
    """Skip where the public data sets, or this one, are not here."""
    try:
        find_folder(name)
    except UsageError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", tag_sets.SETS.names)
def test_a_set_of_tags_is_read_whole(name: str, tmp_path: Path) -> None:
    require_set(tag_sets.SETS.find, name)
    found = tag_sets.SETS.files(name, tmp_path)
    columns = dict(zip(("text", "spans"), found.flags[1::2] if "raw" in found.flags else (None, None), strict=True))
    table = open_table([found.test])
    chosen = choose_columns(table, columns)
    rows = list(Records(table, chosen.columns, find("tag").record, ("spans",), answers=Marks(longest=True)))
    assert len(rows) == TEST_ROWS[name]


@pytest.mark.parametrize("name", sets.names())
def test_a_set_is_read_whole(name: str) -> None:
    require_set(sets.find, name)
    splits = sets.load(name)
    labels = {label for _, value in splits.train for label in labels_of(value)}
    dev = None if splits.dev is None else len(splits.dev)
    assert (len(splits.train), dev, len(splits.test), len(labels)) == SIZES[name]
    for rows in (splits.train, splits.dev or [], splits.test):
        assert all(text.strip() and (label or splits.several) for text, label in rows)
        assert splits.several or {label for _, label in rows} <= labels
    assert len({label for _, label in splits.train[:1000]}) > 1  # not sorted by label


def test_a_pretrained_set_has_texts_of_all_training_rows_and_few_labels(data: Path) -> None:
    rows = [f"pos\t9\t{number}\ttext {number}" for number in range(1_200)]
    write_lines(data / "imdb" / "train.tsv.gz", "label\trating\tid\ttext", *rows)
    write_lines(data / "imdb" / "test.tsv.gz", "label\trating\tid\ttext", "neg\t1\t1\tunseen")
    splits = sets.load("imdb_1000_pretrained")
    assert (len(splits.train), len(splits.unlabelled)) == (1_000, 1_200)
    assert "unseen" not in splits.unlabelled
    assert sets.load("imdb_1000") == dataclasses.replace(splits, unlabelled=())


def test_folds_hold_every_distinct_text_once(data: Path) -> None:
    write_lines(
        data / "sms_spam" / "SMSSpamCollection.tsv",
        *(f"{'spam' if n % 3 else 'ham'}\ttext {n % 20}" for n in range(60)),
    )
    folds = sets.folds("sms_spam")
    assert len(folds) == 5
    assert sorted(text for fold in folds for text, _ in fold.test) == sorted(f"text {n}" for n in range(20))
    for fold in folds:
        assert not fold.test_texts_in_train
        assert len(fold.train) + len(fold.test) == 20
        assert fold.positive == "spam"


def test_a_model_of_one_kind_of_text_is_tested_on_another(data: Path) -> None:
    write_lines(data / "imdb" / "train.tsv.gz", "label\trating\tid\ttext", "pos\t9\t1\tgood", "neg\t1\t2\tbad")
    for part in ("train", "dev", "test"):
        write_lines(data / "sst2" / f"{part}.tsv", "fine\t1", "dull\t0")
    splits = sets.load("imdb_to_sst2")
    assert sorted(splits.train) == [("bad", "neg"), ("good", "pos")]
    assert splits.test == [("fine", "pos"), ("dull", "neg")]


def test_imdb_keeps_quotes_and_odd_line_ends(data: Path) -> None:
    rows = ('pos\t9\t1\tA "gem\x85 of\u2028a film<br />', "neg\t1\t2\tbad\x1cfilm")
    for part in ("train", "test"):
        write_lines(data / "imdb" / f"{part}.tsv.gz", "label\trating\tid\ttext", *rows)
    assert sorted(sets.load("imdb").test) == [('A "gem\x85 of\u2028a film<br />', "pos"), ("bad\x1cfilm", "neg")]


def test_clinc150_is_in_scope_and_keeps_its_parts_apart(data: Path) -> None:
    parts = {
        f"{scope}{part}": [[f"{scope}{part}", scope or "in"]] for scope in ("", "oos_") for part in ("train", "val")
    }
    parts |= {"test": [["test", "in"]], "oos_test": [["oos_test", "oos"]]}
    write_lines(data / "clinc150" / "data_full.json.gz", json.dumps(parts))
    assert sets.load("clinc150") == Splits([("train", "in")], [("val", "in")], [("test", "in")])


def test_trec_takes_the_coarse_label(data: Path) -> None:
    for part in ("train", "test"):
        write_lines(data / "trec" / f"TREC.{part}", "DESC:manner How: why ?")
    assert sets.load("trec") == Splits([("How: why ?", "DESC")], None, [("How: why ?", "DESC")])


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        ("sst2", ["good\t1", "bad"], "line 2"),
        ("sst2", [], "no train rows"),
        ("chnsenticorp", ["good\t1"], "not as the data set"),
    ],
)
def test_a_damaged_set_says_so(data: Path, name: str, lines: list[str], words: str) -> None:
    for part in ("train.tsv", "train.tsv.gz", "dev.tsv", "test.tsv"):
        write_lines(data / name / part, *lines)
    with pytest.raises(DataError, match=words):
        sets.load(name)


def test_a_cut_archive_says_so(data: Path) -> None:
    write_lines(data / "imdb" / "train.tsv.gz", "label\trating\tid\ttext", "pos\t9\t1\tgood")
    path = data / "imdb" / "train.tsv.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match="copy it there again"):
        sets.load("imdb")


def test_a_wrong_set_or_folder_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="did you mean 'imdb'"):
        sets.load("imbd")
    monkeypatch.delenv("CELLGATE_DATA", raising=False)
    with pytest.raises(UsageError, match="CELLGATE_DATA is not set"):
        sets.load("imdb")
    monkeypatch.setenv("CELLGATE_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="no folder"):
        sets.load("imdb")


def test_a_wrong_name_stops_before_any_work() -> None:
    with pytest.raises(UsageError, match="did you mean 'stream'"):
        next(bench.run("limits", ["install", "streem"]))
    with pytest.raises(UsageError, match="did you mean 'trec'"):
        next(bench.run("quality", ["trecc"]))
    with pytest.raises(UsageError, match="did you mean 'kernels'"):
        next(bench.run("speed", ["kernel"]))
    assert bench.names("limits") == ["install", "startup", "lines", "stream", "large"]
    assert bench.names("speed") == ["kernels", "train", "tagging", "generate"]
    assert bench.names("quality") == sorted([*SIZES, *tag_sets.SETS.names, *text_sets.SETS.names])


def test_rows_written_are_the_rows_read(tmp_path: Path) -> None:
    rows = [('a "b",\r c\n', "x"), ("\u2028 d\x85", "y")]
    sets.write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("text", "label"), *rows]


def test_features_follow_the_kind_of_text() -> None:
    assert Features.of(["房间很干净，服务 OK"] * 3) == Features("character", 3, spelling=False, min_count=2)
    assert Features.of(["a long review " * 40] * 3) == Features("word", 3, spelling=False, min_count=2)
    assert Features.of(["a short question ?"] * 3) == Features("word", 2, spelling=True, min_count=1)


@pytest.mark.parametrize("texts", [("so good a film", "so bad a film"), ("房间很干净", "房间很吵闹")])
def test_the_yardstick_learns(texts: tuple[str, str]) -> None:
    rows = [(texts[0], "pos"), (texts[1], "neg")] * 6
    told = yardstick(Splits(rows, None, rows))
    assert told["sklearn_tokens"]["accuracy"] == told["our_tokens"]["accuracy"] == 1


def test_one_letter_words_are_tokens_of_ours_alone() -> None:
    rows = [("word " * 120 + letter, letter) for letter in "ab"] * 6  # long, so that characters are not counted
    told = yardstick(Splits(rows, None, rows))
    assert told["sklearn_tokens"]["accuracy"] == 0.5
    assert told["our_tokens"]["accuracy"] == 1


def test_a_stamp_says_machine_and_commit() -> None:
    told = machine.stamp([sys.executable, "-m", "cellgate", "a b"])
    assert told["machine"].keys() == {"cpu", "cores", "memory_gb", "python", "platform"}
    assert told["machine"]["cores"] >= 1
    assert told["machine"]["memory_gb"] >= 1
    assert told["commit"]
    assert told["command"] == f"{Path(sys.executable).name} -m cellgate 'a b'"
    assert told["versions"]["numpy"]
    assert json.loads(json.dumps(told)) == told


def test_a_commit_outside_git_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PACKAGE", tmp_path)
    assert machine.commit() == "unknown"


def test_a_missing_extra_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'cellgate\[bench\]'"):
        machine.require_extra()
    with pytest.raises(UsageError, match=r"psutil and sklearn and torch.*pip install 'cellgate\[train,bench\]'"):
        machine.require_extra(("torch",))


def test_a_child_is_timed_and_weighed_alone(tmp_path: Path) -> None:
    ours = bytearray(200_000_000)  # must not count
    code = "import sys, time; a = bytearray(60_000_000); time.sleep(0.3); print(sys.stdin.read())"
    done = child.run([sys.executable, "-c", code], tmp_path, b"hello")
    assert done.stdout.strip() == "hello"
    assert done.seconds >= 0.3
    assert 60e6 < done.memory.peak_rss < 60e6 + len(ours) / 2
    assert 60e6 < done.memory.peak_private <= done.memory.peak_rss


def test_a_child_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="ended with code 3: no such luck"):
        child.run([sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"], tmp_path)


def test_a_quality_record_holds_what_the_commands_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "dev", "test"):
        write_lines(data / "sst2" / f"{part}.tsv", *["a good film\t1", "a bad film\t0"] * 4)
    commands: list[list[str]] = []

    def run(command: list[str], folder: Path) -> child.Finished:
        commands.append(command)
        if "train" in command:
            (folder / "sst2").mkdir()
            (folder / "sst2" / "bundle.json").write_text(json.dumps({"calibration": {"linear_share": 0.5}}), "utf-8")
        labels = {label: {"precision": 0.7, "recall": 0.8, "f1": 0.75, "rows": 4} for label in "01"}
        told = {"accuracy": 0.75, "macro_f1": 0.7, "calibration_error": 0.1, "n": 8, "unseen": {}, "labels": labels}
        return child.Finished(1.5, child.Memory(peak_rss=2_000_000), json.dumps(told))

    monkeypatch.setattr(quality, "run", run)
    first, second = bench.run("quality", ["sst2"], seeds=(0, 7))
    assert (first["seed"], second["seed"]) == (0, 7)
    assert (first["accuracy"], first["n"], first["peak_mb"], first["train_seconds"]) == (0.75, 8, 2.0, 1.5)
    assert first["test_texts_in_train"] == 8
    assert first["linear"]["our_tokens"]["accuracy"] == 1.0
    assert {"machine", "commit", "date", "versions", "bundle_mb"} <= first.keys()
    assert "--text text --label label -o sst2 --dev dev.csv --train.seed 7" in second["command"]
    assert commands[1][3:] == ["evaluate", "sst2", "test.csv", "--json"]
    assert not any(word.startswith("--train.") and word != "--train.seed" for command in commands for word in command)


def test_of_a_set_with_texts_without_labels_the_first_model_is_told_too(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{('pos', 'neg')[number % 2]}\t9\t{number}\ttext {number}" for number in range(1_200)]
    for part in ("train", "test"):
        write_lines(data / "imdb" / f"{part}.tsv.gz", "label\trating\tid\ttext", *rows)
    name = "imdb_1000_pretrained"

    def run(command: list[str], folder: Path) -> child.Finished:
        if "train" in command:
            assert command[-6:-2] == ["--pretrain", "unlabelled.csv", "--self-train", "unlabelled.csv"]
            assert len((folder / "unlabelled.csv").read_text("utf-8").splitlines()) == 1_201
            (folder / name).mkdir()
            manifest = {"calibration": {}, "data": {"self_trained_rows": 150}}
            (folder / name / "bundle.json").write_text(json.dumps(manifest), "utf-8")
        accuracy = 0.5 if f"{name}.teacher" in command else 0.75
        labels = {label: {"precision": 0.7, "recall": 0.8, "f1": 0.75, "rows": 4} for label in ("pos", "neg")}
        told = {"accuracy": accuracy, "macro_f1": 0.7, "calibration_error": 0.1, "n": 1_200, "unseen": {}}
        return child.Finished(1.5, child.Memory(peak_rss=2_000_000), json.dumps(told | {"labels": labels}))

    monkeypatch.setattr(quality, "run", run)
    (record,) = bench.run("quality", [name])
    assert (record["accuracy"], record["teacher"]["accuracy"], record["self_trained_rows"]) == (0.75, 0.5, 150)
    text = "\n".join(" ".join(row) for table in tables.tables(tables.grouped([record])) for row in table.rows)
    assert " 50.00 % 150 " in text


def test_means_over_folds_keep_what_is_no_figure() -> None:
    folds = [
        {"accuracy": 0.5, "n": 3, "linear": {"f1": 0.1, "unit": "word"}},
        {"accuracy": 1.0, "n": 4, "linear": {"f1": 0.3, "unit": "word"}},
    ]
    assert quality._mean(folds) == {"accuracy": 0.75, "n": 7, "linear": {"f1": 0.2, "unit": "word"}}


def test_figures_of_what_is_looked_for_and_of_what_is_out_of_scope() -> None:
    truth, answers = ["a", "a", "b", "oos", "oos"], ["a", "oos", "b", "oos", "a"]
    told = of_labels(Splits([("t", "a")], None, [], positive="a", out_of_scope="oos"), by_label(truth, answers))
    assert told == pytest.approx({"positive_f1": 0.5, "in_scope_accuracy": 2 / 3, "out_of_scope_recall": 0.5})


def test_the_yardstick_learns_several_labels() -> None:
    rows = [
        ("so good a film", ("pos", "film")),
        ("so bad a film", ("film",)),
        ("so good a meal", ("pos",)),
        ("bad meal", ()),
    ] * 6
    told = yardstick(Splits(rows, None, rows))
    assert told["our_tokens"]["micro_f1"] == told["sklearn_tokens"]["macro_f1"] == 1


def test_an_invented_file_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        invented.write_large(tmp_path / name, 0.002)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.csv").stat().st_size >= 2_000_000
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == set(invented.LABELS)
    with pytest.raises(UsageError, match="make room"):
        invented.check_room(tmp_path, 1e9)
    assert Sizes().gigabytes == 3


def test_the_page_shows_medians_targets_and_the_newest() -> None:
    records = [
        quality_record(accuracy=0.1),  # measured again below
        quality_record(accuracy=0.90),
        quality_record(accuracy=0.92, seed=1),
        quality_record(set="trec", accuracy=0.85, bundle_mb=61.0),
        {"bench": "startup", "help_seconds": 0.25, "predict_seconds": 1.5, "repeats": 5, **STAMP},
    ]
    page = results.render(records)
    imdb = next(line for line in page.splitlines() if line.startswith("| imdb"))
    assert "91.00 % (target ≥ 92.00 %: not reached)" in imdb
    assert "1.5 min (target ≤ 15.0 min: reached)" in imdb
    assert "| 0, 1 |" in imdb
    assert "| +1.00 |" in imdb
    assert "abc1234" in imdb
    trec = next(line for line in page.splitlines() if line.startswith("| trec"))
    assert "61.0 MB (target ≤ 60.0 MB: not reached)" in trec
    assert "0.25 s (target ≤ 0.3 s: reached) | 1.5 s (target ≤ 1 s: not reached)" in page
    assert "A: Abacus 3000, 2 cores, 24 GB" in page
    assert "`python -m cellgate train classify train.csv`" in page
    assert page == results.render(records)


def test_a_record_appended_is_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    for seed in (0, 1):
        results.append(quality_record(seed=seed, note="é\u2028"), path)
    assert len(results.read(path)) == 2
    assert path.with_suffix(".md").read_text("utf-8") == results.render(results.read(path))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"bench": "nonsense"}\n')
    with pytest.raises(DataError, match="line 3 is no record"):
        results.read(path)


def test_the_committed_page_is_drawn_from_the_committed_records() -> None:
    assert (DOCS / "results.md").read_text("utf-8") == results.render(results.read(DOCS / "results.jsonl"))
