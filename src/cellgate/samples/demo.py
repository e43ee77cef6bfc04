"""The demo: train on the sample questions, test, and answer three. Run by `make demo`; needs no network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = Path("demo") / "questions"
_QUESTIONS = ("where is my parcel??", "我想退货,怎么操作", "the code SPRING10 does nothing")


def _cellgate(*words: str) -> str:
    """Run a command as a user would and show it; returns what it wrote to standard output."""
    print(f"\n$ cellgate {' '.join(f'{word!r}' if ' ' in word else word for word in words)}", flush=True)
    command = [sys.executable, "-m", "cellgate", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout


def main() -> None:
    """Train, test, answer."""
    for folder in (_FOLDER, _FOLDER.with_name(_FOLDER.name + ".training")):
        shutil.rmtree(folder, ignore_errors=True)
    training, test = str(_HERE / "questions.csv"), str(_HERE / "questions_test.csv")
    print(_cellgate("train", "classify", training, "--text", "text", "--label", "intent", "-o", str(_FOLDER)))
    found = json.loads(_cellgate("evaluate", str(_FOLDER), test, "--label", "intent", "--json"))
    right = round(found["accuracy"] * found["n"])
    print(
        f"{right} of {found['n']} questions that were never trained on got the right one of twelve intents: "
        f"accuracy {found['accuracy']:.0%}.\n"
        f"Guessing would get about {found['n'] // 12}. Each intent counted alike (macro F1): {found['macro_f1']:.0%}.\n"
        f"How sure it says it is differs from how often it is right by {found['calibration_error']:.0%} on average.\n"
        "They ask plainly; the rows held out above are harder, and few: that is why the two figures differ.\n"
        "600 questions are few: with some thousands of your own it gets much better."
    )
    print(_cellgate("predict", str(_FOLDER), *_QUESTIONS))
    print(f"The model is the folder {_FOLDER}. Ask it your own: .venv/bin/cellgate predict {_FOLDER} 'your question'")


if __name__ == "__main__":
    main()
