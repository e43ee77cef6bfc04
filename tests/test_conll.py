"""Sentences in columns: CoNLL of any make, and CoNLL-U."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from cellgate.data.columns import choose_columns
from cellgate.data.readers import is_table, open_table
from cellgate.data.records import Records
from cellgate.data.rows import Problems
from cellgate.data.wanted import Marks
from cellgate.errors import DataError
from cellgate.spans import Span
from cellgate.task import find

RECORD = find("tag").record
ADA = "Ada B-PER\nSmith I-PER\nslept O\n\nIn O\nRome B-LOC\n"
U = """# sent_id = 1
# text = I can't go.
1\tI\tI\tPRON\tPRP\t_\t4\tnsubj\t_\t_
2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_
2\tca\tcan\tAUX\tMD\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\tPolarity=Neg\t4\tadvmod\t_\t_
4\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
4.1\tgone\tgo\tVERB\tVB\t_\t_\t_\t_\t_
5\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

"""


def rows(path: Path, skip: bool = False, **columns: str):
    table = open_table([path])
    chosen = choose_columns(table, {"text": columns.get("text"), "spans": columns.get("spans")})
    problems = Problems()
    found: list[Any] = list(Records(table, chosen.columns, RECORD, ("spans",), skip, Marks()).read(problems))
    return [(row.text, row.spans) for row in found], table.notes, problems


def written(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.tsv", "a.conll.gz", "a.bio"])
@pytest.mark.parametrize("separator", [" ", "\t", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tags_that_mark_spans_make_texts_with_spans(name: str, separator: str, end: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, ADA.replace(" ", separator).replace("\n", end))
    assert is_table(str(path))
    found, notes, _ = rows(path)
    assert found == [("Ada Smith slept", (Span(0, 9, "PER"),)), ("In Rome", (Span(3, 7, "LOC"),))]
    assert any("tags of the scheme BIO are read as spans; between tokens stand spaces" in note for note in notes)


def test_chinese_tokens_are_joined_by_nothing(tmp_path: Path) -> None:
    found, notes, _ = rows(written(tmp_path / "a.bmes", "高 B-NAME\n勇 E-NAME\n在 O\n中 B-ORG\n国 E-ORG\n"))
    assert found == [("高勇在中国", (Span(0, 2, "NAME"), Span(3, 5, "ORG")))]
    assert "scheme BIOES" in notes[0]
    assert "between tokens stands nothing" in notes[0]


def test_other_tags_are_kept_with_their_tokens_and_columns_have_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "-DOCSTART- -X- O\n\nAda NNP B-NP\nslept VBD B-VP\n\n\n")
    assert rows(path)[0] == [("Ada slept", (Span(0, 3, "NP"), Span(4, 9, "VP")))]
    path = written(tmp_path / "b.conll", "# a longer comment\nAda B-NP NNP\nslept B-VP VBD\n")
    assert rows(path)[0] == [(("Ada", "slept"), ("NNP", "VBD"))]
    assert rows(path, spans="tags")[0] == rows(path, spans="3")[0]
    with pytest.raises(DataError, match=r"no column '4' in .*b\.conll"):
        rows(path, spans="4")


def test_what_breaks_a_scheme_is_counted_and_mixed_schemes_are_said(tmp_path: Path) -> None:
    _, notes, _ = rows(written(tmp_path / "a.conll", ADA + "\nBob I-PER\n"))
    assert any("BIO are read as spans; 1 span breaks it and is read as conlleval does" in note for note in notes)
    _, notes, _ = rows(written(tmp_path / "b.conll", "Ada B-PER\nB. M-PER\nC. E-PER\n\nBob B-PER\nSmith I-PER\n"))
    assert any("tags of mixed schemes are read as spans, as conlleval does" in note for note in notes)


def test_tokens_and_tags_out_of_step_stop_with_the_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "Ada B-PER\nslept O\n\nIn O\nRome\n\nBob B-PER\n")
    with pytest.raises(DataError, match=r"line 5: 1 column, not 2 \('Rome'\)"):
        rows(path)
    found, _, problems = rows(path, skip=True)
    assert [text for text, _ in found] == ["Ada slept", "Bob"]
    assert problems.count == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_through_comments_documents_and_empty_lines(end: str, tmp_path: Path) -> None:
    head = "\ufeff-DOCSTART- O\n\n\n# a longer comment\nAda B-PER\n \t\n-DOCSTART- O\nslept O\n\n\n"
    path = written(tmp_path / "a.conll", f"{head}In O\n# one more comment\nRome B-LOC\n".replace("\n", end))
    assert [text for text, _ in rows(path)[0]] == ["Ada", "slept", "In Rome"]
    path = written(tmp_path / "b.conll", f"{head}In O\n# one more comment\nRome\n".replace("\n", end))
    with pytest.raises(DataError, match="line 13: 1 column, not 2"):
        rows(path)
    found, _, problems = rows(path, skip=True)
    assert ([text for text, _ in found], problems.count) == (["Ada", "slept"], 1)


def test_a_sentence_that_goes_on_through_many_pieces_is_one(tmp_path: Path) -> None:
    tokens = [f"token{place}" for place in range(40_000)]
    text = "".join(f"{token} O\n" for token in tokens) + "\nAda B-PER\nslept\n"
    with pytest.raises(DataError, match="line 40003: 1 column"):
        rows(written(tmp_path / "a.conll", text))
    found, _, _ = rows(tmp_path / "a.conll", skip=True)
    assert found == [(" ".join(tokens), ())]


def test_a_tag_of_no_scheme_among_others_stops_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", ADA * 10 + "\nBob PER\nslept O\n\nBob B-\n")
    with pytest.raises(DataError, match=r"line 62: the tag 'PER' is neither O nor one such as B-PERSON \('Bob PER'\)"):
        rows(path)
    assert rows(path, skip=True)[2].count == 2


def test_columns_that_mark_no_spans_are_tags_of_tokens_beside_those_that_do(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "Ada NNP B-PER\nslept VBD O\n\n")
    assert rows(path, spans="2")[0] == [(("Ada", "slept"), ("NNP", "VBD"))]
    assert rows(path, spans="3")[0] == rows(path)[0] == [("Ada slept", (Span(0, 3, "PER"),))]


def test_tokens_may_hold_spaces_between_tabs_only(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conll", "New York\tB-LOC\nis\tO\n\n")
    assert rows(path)[0] == [("New York is", (Span(0, 8, "LOC"),))]
    path = written(tmp_path / "c.conll", "is   O\nit O\n\nIn O O\nYork B-LOC\n\n")
    with pytest.raises(DataError, match=r"line 4: 3 columns, not 2 \('In O O'\)"):
        rows(path)
    path = written(tmp_path / "b.conll", "New York\tB-LOC\nis\tO\n\n \tO\n")
    with pytest.raises(DataError, match="line 4: a tag without a token"):
        rows(path)


@pytest.mark.parametrize("number", ["x", "1-", "", "1.2.3"])
def test_lines_of_conllu_without_a_number_are_told(number: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.conllu", U.replace("\n2\t", f"\n{number}\t"))
    with pytest.raises(DataError, match=f"line 5: '{number}' is no number of a word"):
        rows(path)


def test_words_of_conllu_are_tokens_with_a_tag_each(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conllu", U)
    words = ("I", "ca", "n't", "go", ".")
    assert rows(path)[0] == [(words, ("PRON", "AUX", "PART", "VERB", "PUNCT"))]
    assert rows(path, spans="xpos")[0] == [(words, ("PRP", "MD", "RB", "VB", "."))]
    assert rows(path, spans="feats")[0] == [(words, ("_", "_", "Polarity=Neg", "_", "_"))]


def test_what_is_written_is_a_text_with_its_words(tmp_path: Path) -> None:
    wanted = tuple(Span(start, end, "word") for start, end in ((0, 1), (2, 7), (8, 10), (10, 11)))
    path = written(tmp_path / "a.conllu", U)
    assert rows(path, text="raw", spans="words")[0] == [("I can't go.", wanted)]
    bare = "".join(line + "\n" for line in U.split("\n") if not line.startswith("#"))
    assert rows(written(tmp_path / "b.conllu", bare), text="raw", spans="words")[0] == [("I can't go.", wanted)]


def test_words_that_their_text_does_not_hold_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conllu", U.replace("I can't go.", "I cannot go."))
    with pytest.raises(DataError, match='line 3: "can\'t" does not stand in the sentence'):
        rows(path, text="raw", spans="words")


@pytest.mark.parametrize("text", ["good\tyes\nbad\tno\n\n", "a b\n\nc d\n", "text,label\nB-x,O\n\n"])
def test_other_files_are_not_taken_for_columns(text: str, tmp_path: Path) -> None:
    from cellgate.data.conll import is_conll

    assert not is_conll(text)
