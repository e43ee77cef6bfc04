"""The command line as a user meets it: what it prints where, its exit codes, its pipes and its signals."""

import csv
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from cellgate import doctor
from cellgate.card import dev_role
from cellgate.cli import run
from cellgate.cli.incoming import batches
from cellgate.cli.settings import resolve, setting_flags
from cellgate.config import setting_names
from cellgate.data.readers import open_table
from cellgate.data.records import Records
from cellgate.errors import DataError
from cellgate.metrics import TELLING_ROWS
from cellgate.ops import GATES
from cellgate.task import find, names
from tests.conftest import SAMPLES

Trained = tuple[Path, subprocess.CompletedProcess[bytes]]
COMMAND = [sys.executable, "-m", "cellgate"]
REVIEWS, TEST = str(SAMPLES / "reviews.csv"), str(SAMPLES / "reviews_test.csv")
_OF_SOME_TASKS = ("--overlaps", "--label-separator", "--layout", "--pretrain", "--train.sure")
TINY = ["--encoder.embedding", "16", "--encoder.hidden=12", "--encoder.buckets", "256", "--train.threads", "1"]


def cellgate(*words: str, given: bytes | None = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *words], input=given, capture_output=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("cli") / "moods"
    done = cellgate("train", "classify", REVIEWS, "-o", str(folder), *TINY, "--train.max-steps", "60")
    assert done.returncode == 0, done.stderr.decode()
    return folder, done


@pytest.fixture(scope="module")
def folder(trained: Trained) -> str:
    return str(trained[0])


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr of a command that is wrong; notes may come before it."""
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("cellgate: ")
    assert "Traceback" not in err
    return line


# train


def test_training_reports_on_stderr_and_its_result_on_stdout(trained: Trained) -> None:
    folder, done = trained
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "label: column 'sentiment', by its name" in err
    assert "360 rows to train on, 40 held out as dev" in err
    assert "epoch 1/" in err
    assert f"{folder} is ready" in out
    assert "On 40 rows held out" in out
    assert f"cellgate evaluate {folder}" in out
    assert "epoch" not in out
    assert max(map(len, out.splitlines())) <= 80 + len(str(folder))


def test_the_events_of_training_end_in_the_bundle(trained: Trained) -> None:
    folder, _ = trained
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    kinds = {line["event"] for line in lines}
    assert {"Note", "Epoch", "Done"} <= kinds
    assert not {"Step", "Work"} & kinds
    assert lines[-1]["reason"] == "the Bundle is written"


def test_the_bundle_names_the_data_it_was_trained_on(trained: Trained) -> None:
    data = json.loads((trained[0] / "bundle.json").read_text("utf-8"))["data"]
    assert data["files"][0]["name"] == "reviews.csv"
    assert data["files"][0]["bytes"] == Path(REVIEWS).stat().st_size
    assert data["columns"] == {"text": "text", "label": "sentiment"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_a_step_and_resume_goes_on(number: int, tmp_path: Path) -> None:
    words = ["train", "classify", REVIEWS, "-o", str(tmp_path / "b"), *TINY]
    words += ["--train.max-steps", "100", "--train.patience", "99"]
    process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            process.send_signal(number)
            break
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 128 + number
    assert "of 100; go on with --resume" in told.splitlines()[-1]
    if number == signal.SIGINT:
        again = cellgate(*words)
        assert again.returncode == 2
        assert b"--resume" in again.stderr
        other = cellgate(*words, "--resume", "--train.seed", "5")
        assert other.returncode == 2
        assert b"train.seed was 0, is 5" in other.stderr
        done = cellgate(*words, "--resume")
        assert done.returncode == 0, done.stderr.decode()
        lines = (tmp_path / "b" / "events.jsonl").read_text("utf-8").splitlines()
        epochs = [json.loads(line)["epoch"] for line in lines if '"Epoch"' in line]
        assert epochs == sorted(set(epochs))
        assert epochs[0] == 1


@pytest.mark.parametrize("task", names())
def test_every_setting_is_a_flag_with_its_help_and_default(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", task, "--help"]) == 0
    shown = capsys.readouterr().out
    config = find(task).config
    groups = set(config.model_fields)
    for name in setting_names(config):
        if name not in groups:
            assert f"--{name.replace('_', '-')}" in shown
    for field in find(task).fields:
        assert f"--{field} COLUMN" in shown
    assert "Seeds every random choice" in shown
    assert f"[default: {config().train.seed}]" in shown


@pytest.mark.parametrize(
    ("task", "meant"),
    [
        ("classify", {"--label-separator", "--layout", "--pretrain", "--train.sure"}),
        ("tag", {"--overlaps", "--layout", "--pretrain", "--train.sure"}),
        ("generate", {"--layout"}),
    ],
)
def test_a_task_has_the_flags_that_mean_something_to_it(
    task: str, meant: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", task, "--help"]) == 0
    shown = capsys.readouterr().out
    assert {flag for flag in _OF_SOME_TASKS if f"{flag} " in shown} == meant
    assert f"Example: cellgate train {task} {find(task).example}" in shown
    assert run(["train", "generate", "x.txt", "-o", "b", "--overlaps", "longest"]) == 2
    assert "no option '--overlaps'" in capsys.readouterr().err


@pytest.mark.parametrize("task", names())
def test_the_printed_config_read_back_is_the_same_config(
    task: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--train.learning-rate", "1e-4", "--train.max_steps=7", "--train.threads", "none", "--train.seed", "3"]
    assert run(["train", task, "--print-config", *flags]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "settings.yaml"
    file.write_text(printed, "utf-8")
    assert run(["train", task, "--print-config", "--config", str(file)]) == 0
    assert capsys.readouterr().out == printed
    cls = find(task).config
    assert resolve(cls, str(file), None) == cls.parse(yaml.safe_load(printed), "test")
    assert resolve(cls, str(file), None).train.learning_rate == 1e-4


@pytest.mark.parametrize("task", names())
def test_every_choice_of_a_setting_can_be_typed(task: str) -> None:
    cls = find(task).config
    typed = 0
    for group, field in cls.model_fields.items():
        kind: Any = field.annotation
        for setting, inner in kind.model_fields.items():
            words = [word for word in get_args(inner.annotation) if isinstance(word, str)]
            for word in words:
                flags = setting_flags(cls)(**{group: setting_flags(kind)(**{setting: word})})
                assert getattr(getattr(resolve(cls, None, flags), group), setting) == word
                typed += 1
    assert typed > 10


def test_flags_override_the_file_and_leave_the_rest_of_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("encoder: {hidden: 7, layers: 2}\nlinear: {enabled: false}\n", "utf-8")
    assert run(["train", "classify", "--print-config", "--config", str(file), "--encoder.hidden", "9"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["encoder"]["hidden"], config["encoder"]["layers"], config["linear"]["enabled"]) == (9, 2, False)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["trian"], "no verb 'trian'; did you mean 'train'?"),
        (["train", "clasify", "x.csv"], "no task 'clasify'; did you mean 'classify'?"),
        (
            ["train", "classify", "--encoder.hiden", "3"],
            "no option '--encoder.hiden'; did you mean '--encoder.hidden'?",
        ),
        (["train", "classify", "--encoder.hidden", "0"], "'encoder.hidden' in the flags"),
        (["train", "classify", "--linear.enabled", "maybe"], "'linear.enabled' in the flags"),
        (["train", "classify", "--linear.enabled"], "--linear.enabled needs a value"),
        (["train", "classify", "--config", "no.yaml"], "no file 'no.yaml'"),
        (["train", "classify", REVIEWS], "add -o FOLDER"),
        (["train", "classify", "-o", "x"], "no data file was named"),
        (["train", "classify", REVIEWS, "-o", "x", "--label", "sentimen"], "did you mean 'sentiment'?"),
        (["evaluate"], "FOLDER is missing"),
        (["evaluate", "no/such"], "no file was named"),
        (["evaluate", "no/such", "x.csv"], "no folder 'no/such'"),
        (["inspect", "no/such"], "no folder 'no/such'"),
        (["inspect", "a", "b"], "nothing more was expected"),
        (["bench", "qualty"], "no benchmark 'qualty'; did you mean 'quality'?"),
        (["predict", "no/such", "hello", "--top", "9"], "from 1 to 5"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_code_2(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert part in complaint(capsys, *words)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("encoder: {hiden: 3}", "no setting 'encoder.hiden' in "),
        ("encodr: {hidden: 3}", "did you mean 'encoder'?"),
        ("encoder: {hidden: many}", "'encoder.hidden' in "),
        ("encoder: [", "line 1: not valid YAML"),
        ("just words", "holds no settings"),
    ],
)
def test_a_wrong_settings_file_is_named(
    text: str, part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text, "utf-8")
    line = complaint(capsys, "train", "classify", "--print-config", "--config", str(file))
    assert part in line
    assert "s.yaml" in line


# evaluate and inspect


def test_evaluate_prints_exactly_one_json_object(folder: str) -> None:
    done = cellgate("evaluate", folder, TEST, "--json")
    assert done.returncode == 0, done.stderr.decode()
    facts = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert {"accuracy", "macro_f1", "n", "calibration_error", "unseen", "task", "folder", "seconds"} <= set(facts)
    assert (facts["n"], facts["task"], facts["unseen"]) == (80, "classify", {})


def test_evaluate_in_words_and_with_unseen_labels(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,sentiment\nfine,positive\nbad,negativ\nbad,negativ\n", "utf-8")
    assert run(["evaluate", folder, str(file)]) == 0
    out, err = capsys.readouterr()
    assert "On 3 rows" in out
    assert "Share of answers" in out
    assert "2 of 3 rows count as wrong" in err
    assert "did you mean 'negative'?" in err


def test_a_blank_label_names_its_line_or_is_left_out(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,sentiment\nfine,positive\nbad, \n", "utf-8")
    line = complaint(capsys, "evaluate", folder, str(file))
    assert "t.csv line 3: the label (column 'sentiment') is empty" in line
    assert "--skip-bad-rows" in line
    assert run(["evaluate", folder, str(file), "--skip-bad-rows", "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert (facts["n"], facts["skipped_rows"]) == (1, 1)
    assert "1 bad row was skipped" in err


def test_records_are_read_as_often_as_asked(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label\nfine,good\nbad,\nworse,bad\n", "utf-8")
    columns = {"text": "text", "label": "label"}
    table, record = open_table([file]), find("classify").record
    records = Records(table, columns, record, ("label",), skip=True)
    rows = [{"text": "fine", "label": "good"}, {"text": "worse", "label": "bad"}]
    assert list(records) == list(records) == [record.model_validate(row) for row in rows]
    assert records.problems().count == 1
    assert len(list(Records(table, columns, record))) == 3
    with pytest.raises(DataError, match="line 3"):
        list(Records(table, columns, record, ("label",)))


def test_labels_are_read_without_the_space_around_them(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label\n fine ,good\nfair, good \n", "utf-8")
    record = find("classify").record
    records = Records(open_table([file]), {"text": "text", "label": "label"}, record, ("label",))
    rows = [{"text": " fine ", "label": "good"}, {"text": "fair", "label": "good"}]
    assert list(records) == [record.model_validate(row) for row in rows]


def test_inspect_says_what_a_bundle_is(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", folder]) == 0
    out = capsys.readouterr().out
    for part in ("task classify, intact", "reviews.csv", "positive 200", "hidden 12", "accuracy", "model.onnx"):
        assert part in out
    assert "its net reads both ways: train with --encoder.directions 1" in " ".join(out.split())
    assert max(map(len, out.splitlines()[1:])) <= 100
    assert run(["inspect", folder, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["intact"] is True
    assert facts["sizes_bytes"]["model.onnx"] > 0


def test_inspect_finds_a_damaged_file(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in trained[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"gone")
    assert "model.onnx is damaged" in complaint(capsys, "inspect", str(tmp_path))
    (tmp_path / "model.onnx").write_bytes((trained[0] / "model.onnx").read_bytes())
    (tmp_path / "parity.json").write_bytes(b"{")
    assert "parity.json is damaged" in complaint(capsys, "inspect", str(tmp_path))


# predict


def test_texts_files_and_pipes_are_answered_in_order(folder: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("great\n\nawful", "utf-8")
    (tmp_path / "b.csv").write_text("id,review\n1,lovely room\n2,never again\n", "utf-8")
    words = ["one text", str(tmp_path / "a.txt"), "-", str(tmp_path / "b.csv"), "--format", "jsonl", "--top", "2"]
    done = cellgate("predict", folder, *words, given="很好\r\n".encode())
    assert done.returncode == 0, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [line["text"] for line in lines] == ["one text", "great", "", "awful", "很好", "lovely room", "never again"]
    assert all(line["label"] in ("positive", "negative") and len(line["alternatives"]) == 1 for line in lines)
    assert "text: column 'review'" in done.stderr.decode()


def test_formats(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", folder, 'say "hi", you', "bad"]) == 0
    plain = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [len(cells) for cells in plain] == [2, 2]
    assert all(0 <= float(cells[1]) <= 1 for cells in plain)
    assert run(["predict", folder, 'say "hi", you', "bad", "--format", "csv", "--top", "3"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["text", "label", "confidence", "label_2", "confidence_2", "label_3", "confidence_3"]
    assert [row[0] for row in rows[1:]] == ['say "hi", you', "bad"]
    assert [row[1] for row in rows[1:]] == [cells[0] for cells in plain]
    assert run(["predict", folder, "--", "-5 stars", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_table_that_does_not_exist_is_no_text(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no file" in complaint(capsys, "predict", folder, "revews.csv")
    assert "no file 'revews.txt'" in complaint(capsys, "predict", folder, "revews.txt")


def test_a_pipe_that_pauses_gets_its_answers_at_once(folder: str) -> None:
    process = subprocess.Popen([*COMMAND, "predict", folder, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for text in (b"wonderful\n", "糟糕\n".encode(), b"a\nb\n"):
        process.stdin.write(text)
        process.stdin.flush()
        for _ in range(text.count(b"\n")):
            ready, _, _ = select.select([process.stdout], [], [], 30)
            assert ready, "no answer while the pipe was open"
            assert os.read(process.stdout.fileno(), 1 << 16).count(b"\t") in (1, 2)
            if text == b"a\nb\n":
                break
    process.stdin.close()
    assert process.stdout.read() == b""
    process.stdout.close()
    assert process.wait(30) == 0


def test_dense_input_keeps_its_order_and_its_count(folder: str) -> None:
    texts = [f"text number {number}" for number in range(1500)]
    done = cellgate("predict", folder, "--format", "jsonl", "--top", "1", given="\n".join(texts).encode())
    assert [json.loads(line)["text"] for line in done.stdout.decode().splitlines()] == texts


def test_lines_before_a_bad_byte_are_answered(folder: str) -> None:
    done = cellgate("predict", folder, given="good\nschön\n".encode() + b"b\xe9d\nmore\n")
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 2
    assert (
        b"standard input line 3: the bytes e9 64 0a are not utf-8" in done.stderr
        or b"line 3: the bytes e9" in done.stderr
    )
    done = cellgate("predict", folder, "--encoding", "cp1252", "--format", "jsonl", given=b"b\xe9d\n")
    assert json.loads(done.stdout)["text"] == "béd"


@pytest.mark.parametrize("piped", [True, False])
def test_bad_lines_stop_after_those_before_them_or_are_left_out(folder: str, tmp_path: Path, piped: bool) -> None:
    data = b"good\nfine\n" * 600 + b"b\xe9d\n\0\nlast\n"
    file = tmp_path / "t.txt"
    file.write_bytes(data)
    words = ["predict", folder, *([] if piped else [str(file), "--encoding", "utf-8"])]
    done = cellgate(*words, given=data if piped else b"")
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1200
    assert b"line 1201: the bytes e9 are not utf-8" in done.stderr
    assert b"--skip-bad-rows" in done.stderr
    done = cellgate(*words, "--skip-bad-rows", given=data if piped else b"")
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.splitlines()) == 1201
    assert b"2 bad rows were skipped: " in done.stderr
    assert b"line 1202: a NUL byte" in done.stderr


def test_a_pipe_in_utf_16_needs_its_byte_order_or_its_mark(folder: str) -> None:
    words = ["predict", folder, "--format", "jsonl", "--encoding"]
    done = cellgate(*words, "utf-16", given="很好\n".encode("utf-16"))
    assert json.loads(done.stdout)["text"] == "很好"
    done = cellgate(*words, "utf-16", given="很好\n".encode("utf-16-le"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--encoding utf-16-le" in done.stderr


def test_rows_before_a_bad_one_are_answered(folder: str, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"text\n" + b"good\n" * 700 + b"b\xe9d\n")
    done = cellgate("predict", folder, str(file), "--encoding", "utf-8")
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 700)
    assert b"t.csv line 702: the bytes e9 are not utf-8" in done.stderr


def test_texts_too_long_are_counted(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,sentiment\nfine,positive\n" + f"{'bad ' * 1001},negative\n", "utf-8")
    assert run(["predict", folder, str(file)]) == 0
    said = "1 of 2 texts is longer than 1,000 tokens; only its beginning was read"
    assert said in capsys.readouterr().err.splitlines()
    assert run(["evaluate", folder, str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["cut"] == 1
    assert f"warning: {said}" in err.splitlines()


def test_whoever_stops_reading_ends_it_in_peace(folder: str) -> None:
    shell = f"yes 'a fine day' | '{sys.executable}' -m cellgate predict '{folder}' | head -n 2; echo ${{PIPESTATUS[1]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == b"0"
    assert done.stderr == b""


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_lines_are_cut_right_wherever_reads_end(step: int) -> None:
    text = "\ufeffeins\r\n\nzwei 二\nthree\n" * 20 + "last"
    reader, writer = os.pipe()
    data, lines = text.encode(), []
    for start in range(0, len(data), step):
        os.write(writer, data[start : start + step])
    os.close(writer)
    for batch in batches(reader, "utf-8", 7):
        assert 1 <= len(batch) <= 7
        lines += batch
    os.close(reader)
    assert lines == [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]


# the house


def test_answering_needs_no_torch(folder: str) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from cellgate.cli import run; "
        f"codes = [run(words) for words in (['predict', {folder!r}, 'hi'], ['evaluate', {folder!r}, {TEST!r}], "
        f"['inspect', {folder!r}], ['--help'])]; assert codes == [0] * 4; "
        "assert run(['doctor']) == 0; assert run(['train', 'classify', %r, '-o', 'x']) == 2" % REVIEWS
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"does not work without" in done.stdout
    assert b"cellgate[train]" in done.stderr


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys; from cellgate.cli import run; run(['--help']); run(['--version']); "
        "print(sorted({'numpy', 'torch', 'onnxruntime', 'pydantic', 'tokenizers', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for verb in ("train", "evaluate", "predict", "inspect", "doctor", "bench"):
        assert f" {verb} " in done.stdout


def test_doctor_says_what_serves(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    for part in ("numpy", "torch", "onnxruntime", "serves", "answering", "training"):
        assert part in out
    for cell in GATES:
        (names,) = (line.split(None, 2)[2] for line in out.splitlines() if line.startswith(f"cpu {cell} "))
        assert names.endswith("reference")
        assert ("padded" in names) == (cell != "peephole")
    assert "refuses peephole: torch has no LSTM with peepholes" in out


def test_doctor_finds_what_is_broken_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name == "torch":
            raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", load)
    monkeypatch.setattr(doctor, "version", {"numpy": "1.26.4", "onnx": "2", "safetensors": "2.10.1+cpu"}.get)
    monkeypatch.setattr(
        doctor, "requires", lambda _: ["torch>=2.13", "numpy>=2", "onnx>=2.0", 'safetensors>=2.9; python_version > "3"']
    )
    problems = {library.name: library.problem for library in doctor.libraries()}
    assert problems == {
        "torch": "missing or broken: libcudart.so: cannot open shared object file",
        "numpy": "1.26.4 is too old: >=2 is needed",
        "onnx": "",
        "safetensors": "",
    }


@pytest.mark.parametrize(
    ("out", "part"), [("one.csv", "is a file"), (".", "the folder you are in"), ("/", "you are in")]
)
def test_a_bundle_goes_into_a_folder_of_its_own(
    out: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("text,label\n", "utf-8")
    assert part in complaint(capsys, "train", "classify", REVIEWS, "-o", out)
    assert [path.name for path in tmp_path.iterdir()] == ["one.csv"]


def test_what_dev_rows_did_is_said_by_their_number() -> None:
    assert dev_role(TELLING_ROWS) == "chose the checkpoint and the calibration"
    assert dev_role(TELLING_ROWS - 1) == "chose the calibration"


def test_a_place_that_cannot_be_written_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "classify", REVIEWS, "-o", "/proc/nowhere/b"]) == 1
    assert "cellgate: /proc/nowhere" in capsys.readouterr().err


def test_data_that_were_mended_need_no_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label\na fine day,x\n", "utf-8")
    words = ["train", "classify", str(file), "-o", str(tmp_path / "b")]
    assert "at least two labels" in complaint(capsys, *words)
    assert not (tmp_path / "b.training").exists()


def test_a_model_takes_the_place_of_one_of_its_own_task_alone(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = shutil.copytree(folder, tmp_path / "moods")
    few = [*TINY, "--train.max-steps", "2"]
    Path(tmp_path / "marked.jsonl").write_text('{"text": "Bob ran", "spans": [[0, 3, "person"]]}\n' * 20, "utf-8")
    before = (old / "bundle.json").read_bytes()
    assert run(["train", "tag", str(tmp_path / "marked.jsonl"), "-o", str(old), "--self-train", REVIEWS]) == 2
    assert not (tmp_path / "moods.teacher").exists()  # nothing was trained in vain
    assert "holds a Bundle that was trained to classify: name another folder" in capsys.readouterr().err
    assert (old / "bundle.json").read_bytes() == before
    assert run(["train", "classify", REVIEWS, "-o", str(old), *few]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "holds a Bundle already: this one takes its place when it is done" in said
    assert (old / "bundle.json").read_bytes() != before
