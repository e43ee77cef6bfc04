"""One long text through a Session, in a process of its own: python -m cellgate.bench.session FOLDER FILE TOKENS.

FILE holds the text, which is fed again and again. Writes one JSON object.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cellgate.bundle import open_bundle
from cellgate.stream import Session

_EARLY_TOKENS = 10  # read before anything is measured
_WORDS = 2_000  # fed one by one
_PIECES = 50  # fed one by one, too
_PIECE = 2_048  # characters


def measure(folder: str, text: str, tokens: int) -> dict[str, float]:
    """What a token costs after a few and after so many; us are microseconds, medians over pieces; MB are resident."""
    import psutil

    process = psutil.Process()
    session = open_bundle(folder).session()
    words = [f"{word} " for word in text.split()]
    pieces = _again([text[start : start + _PIECE] for start in range(0, len(text), _PIECE)])
    while session.tokens < _EARLY_TOKENS:
        session.feed(words[session.tokens % len(words)])
    early = _costs(session, words, pieces)
    mb_early = process.memory_info().rss / 1e6
    before, began = session.tokens, time.perf_counter()
    while session.tokens < tokens:
        session.feed(next(pieces))
    seconds = time.perf_counter() - began
    rate = (session.tokens - before) / seconds if session.tokens > before else 0.0
    late = _costs(session, words, pieces)
    return {
        "tokens": session.tokens,
        "us_by_word_early": early[0],
        "us_by_word_late": late[0],
        "us_in_pieces_early": early[1],
        "us_in_pieces_late": late[1],
        "tokens_per_second": round(rate),
        "mb_early": round(mb_early, 1),
        "mb_late": round(process.memory_info().rss / 1e6, 1),
    }


def _again(pieces: list[str]) -> Iterator[str]:
    while True:
        yield from pieces


def _costs(session: Session, words: list[str], pieces: Iterator[str]) -> tuple[float, float]:
    """Microseconds a token where words come one by one, and where they come in pieces."""
    by_word = [_cost(session, words[place % len(words)]) for place in range(_WORDS)]
    in_pieces = [_cost(session, next(pieces)) for _ in range(_PIECES)]
    return round(statistics.median(by_word), 1), round(statistics.median(in_pieces), 1)


def _cost(session: Session, piece: str) -> float:
    began = time.perf_counter()
    tokens = session.feed(piece).tokens
    return 1e6 * (time.perf_counter() - began) / max(1, tokens)


if __name__ == "__main__":
    bundle, file, count = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(bundle, Path(file).read_text("utf-8"), int(count))) + "\n")
