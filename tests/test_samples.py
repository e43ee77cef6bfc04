"""The sample texts: bars of the tunes add up, couplets have two lines, and nothing stands twice."""

import re
from fractions import Fraction

import pytest

from tests.conftest import SAMPLES

_HEAD = re.compile(r"X:(\d+)\nT:.+\nM:(\d+/\d+)\nL:(1/\d+)\nK:([A-G])(?:m|dor|mix)?\n")
_SIGN = re.compile(r"[_^=]?([A-Ga-g])[,']*(\d*)|\(3|[> ]")  # a note; three in the time of two; dotted; a space


def documents(name: str) -> list[str]:
    return (SAMPLES / name).read_text("utf-8").rstrip("\n").split("\n\n")


def length(bar: str) -> Fraction:
    """The notes of a bar, in units; ValueError where it holds what is none."""
    total, place, tripled = Fraction(0), 0, 0
    while place < len(bar):
        sign = _SIGN.match(bar, place)
        if sign is None:
            raise ValueError(f"{bar!r}: no note at {place}")
        place = sign.end()
        if sign[0] == "(3":
            tripled = 3
        elif sign[1]:
            total += Fraction(int(sign[2] or 1)) * (Fraction(2, 3) if tripled else 1)
            tripled = max(0, tripled - 1)
    return total


def strains(tune: str) -> list[list[str]]:
    """The bars of a tune between its repeats."""
    head = _HEAD.match(tune)
    assert head, tune
    body = tune[head.end() :].replace("\n", "")
    assert re.fullmatch(r"(\|:[^:]+:\|)+", body), tune
    return [part.split("|") for part in re.findall(r"\|:([^:]+):\|", body)]


def wrong_bars(tune: str) -> list[str]:
    """Bars that do not add up to the metre; a strain may begin with a part of a bar whose rest ends it."""
    head = _HEAD.match(tune)
    assert head, tune
    whole = Fraction(head[2]) / Fraction(head[3])
    wrong = []
    for bars in strains(tune):
        first, *inner, last = bars
        wrong += [bar for bar in inner if length(bar) != whole]
        if {length(first), length(last)} != {whole} and length(first) + length(last) != whole:
            wrong += [first, last]
    return wrong


@pytest.mark.parametrize("tune", documents("tunes.abc"), ids=lambda tune: tune.split("\n")[1][2:])
def test_a_tune_adds_up_and_ends_on_its_tonic(tune):
    assert wrong_bars(tune) == []
    head = _HEAD.match(tune)
    assert head
    notes = re.findall(r"[A-Ga-g]", tune[head.end() :])
    assert notes[-1].upper() == head[4]
    whole = Fraction(head[2]) / Fraction(head[3])
    assert sum(length(bar) for bars in strains(tune) for bar in bars) / whole in (8, 16)


def test_a_bar_that_is_short_is_found():
    tune = documents("tunes.abc")[0]
    assert wrong_bars(tune.replace("|ece dBG|", "|ece dB|", 1)) == ["ece dB"]
    assert length("(3EFG A2>B") == 5


def test_each_tune_stands_once():
    tunes = documents("tunes.abc")
    assert [tune.split("\n")[0] for tune in tunes] == [f"X:{number}" for number in range(1, len(tunes) + 1)]
    assert len(tunes) >= 60
    assert len({tune.split("K:")[1] for tune in tunes}) == len({tune.split("\n")[1] for tune in tunes}) == len(tunes)


def test_couplets_have_two_lines():
    english, chinese = documents("couplets.txt"), documents("couplets_zh.txt")[0].split("\n")
    assert len(set(english)) == len(english) >= 150
    assert len(set(chinese)) == len(chinese) >= 100
    assert all(re.fullmatch(r"[A-Z].+\n\S.+[.!?]", couplet) for couplet in english)
    assert all(re.fullmatch(r"[一-鿿]{7}，[一-鿿]{7}。", couplet) for couplet in chinese)
