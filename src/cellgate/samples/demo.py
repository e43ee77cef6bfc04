"""The demo: train on the sample questions and answer three; train on the sample tunes and write one.

Run by `make demo`; needs no network.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = Path("demo")
_QUESTIONS = ("where is my parcel??", "我想退货,怎么操作", "the code SPRING10 does nothing")
# Of few texts a small net that takes many small steps learns most in a few seconds.
_QUICK = (
    *("--writer.layers", "1", "--writer.hidden", "192", "--writer.embedding", "64", "--train.batch-rows", "4"),
    *("--train.batch-tokens", "256", "--train.max-steps", "600"),
)
_LINES = ("|:GBd gdB|cBA AGE|", "|:GBd gdB|cBA AG|")


def _cellgate(*words: str) -> str:
    """Run a command as a user would and show it; returns what it wrote to standard output."""
    shown = (f"'{word}'" if " " in word or "|" in word else word for word in words)
    print(f"\n$ cellgate {' '.join(shown)}", flush=True)
    command = [sys.executable, "-m", "cellgate", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout


def _questions(folder: str) -> None:
    """Train a classifier, test it, ask it."""
    training, test = str(_HERE / "questions.csv"), str(_HERE / "questions_test.csv")
    print(_cellgate("train", "classify", training, "--text", "text", "--label", "intent", "-o", folder))
    found = json.loads(_cellgate("evaluate", folder, test, "--label", "intent", "--json"))
    right = round(found["accuracy"] * found["n"])
    print(
        f"In words: {right} of {found['n']} questions that were never trained on got the right one of twelve intents: "
        f"accuracy {found['accuracy']:.0%}.\n"
        f"Guessing would get about {found['n'] // 12}. Each intent counted alike (macro F1): {found['macro_f1']:.0%}.\n"
        f"How sure it says it is differs from how often it is right by {found['calibration_error']:.0%} on average.\n"
        "They ask plainly; the rows held out above are harder, and few: that is why the two figures differ.\n"
        "600 questions are few: with some thousands of your own it gets much better."
    )
    print(_cellgate("predict", folder, *_QUESTIONS))


def _tunes(folder: str) -> None:
    """Train a language model, let it write, ask it what is probable."""
    print(_cellgate("train", "generate", str(_HERE / "tunes.abc"), "--layout", "documents", *_QUICK, "-o", folder))
    print(_cellgate("write", folder, "--temperature", "0.5"))
    print("A tune in ABC notation, written character by character; 90 tunes are few, and not all bars add up.")
    print(_cellgate("score", folder, *_LINES))
    print("Nearer to 0 is more probable: the last bar of the second line lacks a note, and the model minds.\n")


def main() -> None:
    """Train, test, answer; train, write, score."""
    questions, tunes = _FOLDER / "questions", _FOLDER / "tunes"
    for folder in (questions, tunes):
        for each in (folder, folder.with_name(folder.name + ".training")):
            shutil.rmtree(each, ignore_errors=True)
    _questions(str(questions))
    _tunes(str(tunes))
    print(f"The models are folders. Ask the first your own: .venv/bin/cellgate predict {questions} 'your question'")
    print(f"Let the second write: .venv/bin/cellgate write {tunes} --seed 1    (more: docs/writing.md)")


if __name__ == "__main__":
    main()
