"""Sentences on stderr, and the few turns of phrase that several verbs share."""

import shutil
import sys
import textwrap
from datetime import timedelta

from cellgate.errors import counted

STANDARD_INPUT = "/dev/stdin"  # what `-` stands for; known by this name where there is no such file, too
WIDTH = 80  # of what is laid out in columns


def say(sentence: str) -> None:
    """Tell the user something that is no result: wrapped on a terminal, else one line."""
    if sys.stderr.isatty():
        sentence = textwrap.fill(sentence, max(40, shutil.get_terminal_size().columns - 1), subsequent_indent="  ")
    print(sentence, file=sys.stderr, flush=True)


def cut_short(cut: int, texts: int, most: int) -> str:
    """Say that texts were not read to their ends."""
    are, their = ("is", "its") if cut == 1 else ("are", "their")
    return f"{cut:,} of {counted(texts, 'text')} {are} longer than {most:,} tokens; only {their} beginning was read"


def row(name: str, value: str, words: str = "", *, indent: int = 20) -> str:
    """One fact: its name, its value, and words that go on below themselves."""
    head = f"{name:<{indent - 1}} {value}"
    if not words:
        return textwrap.fill(head, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)
    return textwrap.fill(f"{head:<{indent + 8}} {words}", WIDTH, subsequent_indent=" " * (indent + 9))


def megabytes(size: float) -> str:
    """A size in bytes, in words."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def clock(seconds: float) -> str:
    """A stretch of time: 8.4 s, 32 s, 5:07, 1:02:30."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return str(timedelta(seconds=round(seconds))).removeprefix("0:").removeprefix("0")


def metric_name(name: str) -> str:
    """Write a metric's name as one says it."""
    return name.replace("_", " ").replace("f1", "F1")
