"""The house rules that a program can check. Floors are checked by import-linter in `make check`."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cellgate
from cellgate import task

SOURCE = Path(cellgate.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_are_small_and_have_no_tunnels(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400
    for function in _functions(path):
        where = f"{path.name}:{function.lineno} {function.name}"
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < 60, f"{where} is longer than 60 lines"
        assert function.args.kwarg is None, f"{where} takes **{function.args.kwarg}"
        calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert not any(call.func.id == "locals" for call in calls if isinstance(call.func, ast.Name)), where


def test_the_public_list_is_exact():
    assert cellgate.__all__ == ["__version__", "open", "train"]
    public = {name for name in vars(cellgate) if not name.startswith("_")}
    allowed = {"Any", "Literal", "Mapping", "Path", "Sequence", "TYPE_CHECKING"}
    modules = {path.stem for path in SOURCE.glob("*.py")} | {path.name for path in SOURCE.iterdir() if path.is_dir()}
    assert public - allowed - modules <= set(cellgate.__all__)


def test_import_opens_nothing_heavy():
    heavy = {"numpy", "onnxruntime", "pydantic", "tokenizers", "torch"}
    script = f"import sys, cellgate; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_the_roof_prints():
    for path in FILES:
        if path.is_relative_to(SOURCE / "cli") or path.name in {"cli.py", "demo.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path}:{node.lineno} prints"


_BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        blocked = {"torch", "onnx", "onnxscript", "safetensors", "sklearn", "matplotlib", "jinja2", "arro3"}
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
"""


def test_without_torch_every_task_file_imports_and_a_bundle_answers(bundle, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("text,label\nwonderful,positive\n", "utf-8")
    script = f"""{_BLOCKED}
import cellgate
from cellgate import task
for name in task.names():
    task.find(name)
opened = cellgate.open({str(bundle.folder)!r})
assert opened.predict(["lovely"])[0].confidence > 0
assert opened.evaluate([opened.task.read({{"text": "lovely", "label": "positive"}})])["n"] == 1
try:
    cellgate.train("classify", [{{"text": "a", "label": "b"}}])
except cellgate.errors.UsageError as error:
    assert "pip install 'cellgate[train]'" in str(error), error
else:
    raise SystemExit("training without torch said nothing")
from cellgate.cli import main
folder = {str(bundle.folder)!r}
for words in (["--help"], ["predict", folder, "fine"], ["evaluate", folder, {str(test)!r}]):
    sys.argv = ["cellgate", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_copy_of_a_task_file_is_a_task(tmp_path, reviews):
    """`tasks/` is the registry: no other file knows the names of tasks."""
    import shutil

    shutil.copytree(SOURCE, tmp_path / "cellgate", ignore=shutil.ignore_patterns("__pycache__"))
    tasks = tmp_path / "cellgate" / "tasks"
    shutil.copy(tasks / "classify.py", tasks / "sort_mail.py")
    data = tmp_path / "mail.csv"
    data.write_text("text,label\n" + "".join(f'"{r["text"]}",{r["label"]}\n' for r in reviews if '"' not in r["text"]))
    settings = ["--train.max-steps", "5", "--encoder.hidden", "8", "--encoder.embedding", "8"]
    words = [sys.executable, "-m", "cellgate", "train", "sort_mail", str(data), "-o", str(tmp_path / "b"), *settings]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = [sys.executable, "-m", "cellgate", "inspect", str(tmp_path / "b")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert "sort_mail" in done.stdout, done.stdout + done.stderr


def test_tasks_are_the_files_of_the_folder():
    assert task.names() == sorted(p.stem for p in (SOURCE / "tasks").glob("*.py") if p.stem != "__init__")


def test_help_starts_fast_enough_to_feel_instant(capsys):
    """Prints the time; the bound is generous because machines are shared: the figure is in docs/results.md."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "cellgate", "--help"], capture_output=True, check=True)
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\ncellgate --help: {took:.2f} s")
    assert took < 5
