"""Tags of every scheme as spans, and spans as rows give them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgate.spans import (
    Run,
    Span,
    Survey,
    bioes,
    check_marks,
    longest,
    read_marked,
    read_span,
    runs_of_tags,
    spans_of_tags,
)

RUNS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("XY")), max_size=6)


def placed(parts: list[tuple[int, int, str]]) -> tuple[int, list[Run]]:
    """Runs one behind the other: gap, length, label of each."""
    end, runs = 0, []
    for gap, length, label in parts:
        runs.append(Run(end + gap, end + gap + length, label))
        end += gap + length
    return end + 1, runs


@settings(max_examples=100, deadline=None, derandomize=True)
@given(RUNS)
def test_what_was_written_by_a_scheme_is_read_back(parts: list[tuple[int, int, str]]) -> None:
    count, runs = placed(parts)
    tags = bioes(count, runs)
    assert runs_of_tags(tags) == runs
    for renamed in ("BILOU", "BMES", "BIO"):
        letters = {"BILOU": {"E": "L", "S": "U"}, "BMES": {"I": "M"}, "BIO": {"E": "I", "S": "B"}}[renamed]
        assert runs_of_tags([letters.get(tag[0], tag[0]) + tag[1:] for tag in tags]) == runs


@pytest.mark.parametrize(
    ("tags", "runs"),
    [
        ("I-X I-X O I-Y", [Run(0, 2, "X"), Run(3, 4, "Y")]),  # IOB1
        ("I-X B-X I-X", [Run(0, 1, "X"), Run(1, 3, "X")]),
        ("B-X I-Y", [Run(0, 1, "X"), Run(1, 2, "Y")]),
        ("S-X I-X E-X", [Run(0, 1, "X"), Run(1, 3, "X")]),
        ("E-X E-X", [Run(0, 1, "X"), Run(1, 2, "X")]),
        ("B-X O E-X", [Run(0, 1, "X"), Run(2, 3, "X")]),
    ],
)
def test_what_breaks_a_scheme_is_read_as_conlleval_does(tags: str, runs: list[Run]) -> None:
    assert runs_of_tags(tags.split()) == runs


@pytest.mark.parametrize(
    ("sentences", "scheme", "broken"),
    [
        (["B-X I-X O", "O B-Y"], "BIO", 0),
        (["B-X I-X O", "O I-Y"], "BIO", 1),
        (["I-X I-X B-X O", "O I-Y"], "IOB1", 0),
        (["B-X M-X E-X S-Y"], "BMES", 0),
        (["B-X I-X L-X U-Y"], "BILOU", 0),
        (["B-X I-X E-X S-Y", "B-X O"], "BIOES", 1),
        (["B-X M-X E-X", "B-X I-X"], "", 1),
    ],
)
def test_schemes_are_told_and_what_breaks_them_counted(sentences: list[str], scheme: str, broken: int) -> None:
    found = Survey()
    for tags in sentences:
        found.add(tags.split())
    assert (found.scheme, found.broken) == (scheme, broken)


def test_places_of_spans_are_characters_of_the_joined_tokens() -> None:
    tokens, tags = ["Ada", "Smith", "slept"], ["B-X", "I-X", "O"]
    assert spans_of_tags(tokens, tags) == (Span(0, 9, "X"),)
    assert spans_of_tags(tokens, tags, "") == (Span(0, 8, "X"),)


def test_rows_are_read_however_they_are_written() -> None:
    wanted = {"text": "Ada slept", "spans": (Span(0, 3, "X"),)}
    rows: list[dict[str, Any]] = [
        {"text": "Ada slept", "spans": [[0, 3, "X"]]},
        {"text": "Ada slept", "spans": [{"start": "0", "end": 3, "label": "X", "confidence": "0.5"}]},
        {"tokens": ["Ada", "slept"], "tags": ["S-X", "O"]},
    ]
    assert [read_marked(row) for row in rows] == [wanted] * 3
    tags = {"tokens": ["Ada", "slept"], "tags": ["NOUN", "VERB"]}
    assert read_marked(tags) == {"text": ["Ada", "slept"], "spans": ("NOUN", "VERB")}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"start": "a", "end": 3, "label": "X"}, "'a' is no place in a text"),
        ({"start": 0, "end": 3, "label": None}, "null is no label of a span; give a name"),
        ([0, 3, ["X"]], r"\['X'\] is no label of a span"),
        ([1, 2], "is no span"),
        (7, "is no span"),
        ({"start": -1, "end": 2}, "is no span"),
    ],
)
def test_what_is_no_span_is_refused(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_span(value)


@pytest.mark.parametrize(
    ("text", "marks", "said"),
    [
        ("Ada", [Span(0, 4, "X")], "0 to 4 .* outside its text of 3 characters"),
        ("Ada", [Span(2, 2, "X")], "2 to 2 .* outside"),
        ("Ada Bob", [Span(0, 5, "X"), Span(4, 7, "Y")], r"0 to 5 \(X\) and 4 to 7 \(Y\) overlap \(--overlaps longest"),
        ("Ada", [Span(0, 3, " ")], "the span 0 to 3 has no label"),
        (("Ada", "Bob"), ["NOUN", ""], "the token 'Bob' has no tag"),
        ("Ada", ["NOUN"], "tags need tokens"),
        (("Ada", "Bob"), ["NOUN"], "2 tokens, 1 tags"),
    ],
)
def test_marks_that_do_not_fit_are_refused(text: Any, marks: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_marks(text, marks)


def test_of_overlapping_spans_the_longest_is_kept() -> None:
    spans = [Span(0, 2, "a"), Span(1, 5, "b"), Span(5, 6, "c"), Span(4, 6, "d")]
    assert longest(spans) == [Span(1, 5, "b"), Span(5, 6, "c")]
