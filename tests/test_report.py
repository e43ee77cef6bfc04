"""report.html: right and whole for every kind of Report. All values are invented."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import numpy as np
import pytest

from cellgate.metrics import Answer, Value, calibration_error, with_texts
from cellgate.report import Certainty, DevAnswers, Disagreement, LearningCurves, Report, Texts, report_html, worst
from cellgate.report.tables import NOTHING, WORST_ROWS, confused, label_scores, likely_share, matrix, mixed_up
from cellgate.spans import Span

VOID = {"meta", "br", "path", "use", "rect"}


def report(truth: Sequence[Value], answers: Sequence[Answer], labels: Sequence[str], texts: Sequence[str]) -> Report:
    """A report of these dev rows; the rest is invented. Row i of dev has text i, cyclically."""
    draw = np.random.default_rng(0)
    rows = len(truth)
    right = np.array([t == a for t, a in zip(truth, answers, strict=True)])
    confidence = np.clip(np.where(right, draw.beta(8, 2, rows), draw.beta(3, 2, rows)), 0.01, 0.999).astype(np.float32)
    given = np.array([answer is not None for answer in answers])
    places = worst(truth, answers, confidence)
    errors = [
        Disagreement(p + 1, texts[p % len(texts)], truth[p], answers[p] or (), float(confidence[p]))
        for p in places.tolist()
    ]
    metrics = {"accuracy": float(right.mean()), "macro_f1": 0.87, "calibration_error": 0.02, "n": rows}
    return Report(
        looked_at=1_000,
        name="models/invented",
        task="classify",
        part="text",
        version="0.1.0",
        rows_by_label={label: 10 + 7 * place for place, label in enumerate(labels)},
        metrics=metrics,
        halves={"recurrent": metrics["accuracy"] - 0.02, "linear": metrics["accuracy"] - 0.01},
        curves=LearningCurves((1.9, 1.2, 0.8, 0.61, 0.55), (0.61, 0.78, 0.84, 0.86, 0.855), 4),
        texts=Texts(draw.poisson(14, 900) + 1, "word", 1_000, cut=0, empty=2, skipped=3, unseen=0),
        dev=DevAnswers(
            truth=tuple(truth),
            answers=tuple(answers),
            calibrated=Certainty(confidence[given], right[given]),
            uncalibrated=Certainty(np.sqrt(confidence[given]), right[given]),
            abstain_below=0.0,
            given=False,
        ),
        errors=tuple(errors),
        suspects=tuple(replace(error, row=error.row * 97) for error in errors),
    )


def noisy(labels: Sequence[str], rows: int, wrong: float) -> tuple[list[str], list[str]]:
    """Truth and answers, a share of them wrong; wrong answers prefer the next label."""
    draw = np.random.default_rng(1)
    truth = draw.integers(len(labels), size=rows)
    step = np.where(draw.random(rows) < 0.7, 1, draw.integers(1, len(labels), size=rows))
    answers = np.where(draw.random(rows) < wrong, (truth + step) % len(labels), truth)
    return [labels[i] for i in truth], [labels[i] for i in answers]


def two_labels() -> Report:
    labels = ["negative", "positive"]
    return report(*noisy(labels, 500, 0.1), labels, ["It broke after a week.", "Lovely, would buy again!"])


def many_labels() -> Report:
    labels = [f"intent_{place:03d}_of_a_bank" for place in range(150)]
    return report(*noisy(labels, 3_000, 0.12), labels, ["where is my card", "the machine kept my card, what now?"])


def chinese() -> Report:
    labels = ["财经", "房产", "股票", "教育", "科技", "社会", "时政", "体育", "游戏", "娱乐新闻与明星八卦"]
    texts = ["包装破损，客服说要等三天，太失望了", "央行宣布下调存款准备金率零点五个百分点，释放长期资金约一万亿元"]
    made = report(*noisy(labels, 1_000, 0.08), labels, texts)
    lengths = np.clip(np.random.default_rng(2).lognormal(4.6, 0.9, 5_000).astype(int), 1, 1_000)
    return replace(
        made, texts=replace(made.texts, lengths=lengths, unit="character", cut=int((lengths == 1_000).sum()))
    )


def several_labels() -> Report:
    labels = ["corn", "grain", "money-fx", "trade", "wheat"]
    draw = np.random.default_rng(3)
    true = draw.random((400, 5)) < 0.3
    said = true ^ (draw.random((400, 5)) < 0.06)
    truth, answers = ([tuple(np.array(labels)[row].tolist()) for row in rows] for rows in (true, said))
    return report(truth, answers, labels, ["Export prices of grain rose in May.", "The dollar fell."])


def long_and_hostile() -> Report:
    labels = ["<script>alert(1)</script>", 'a "quoted" & very, ' + "very " * 40 + "long label", "שלום"]
    texts = [
        "word " * 40_000,
        "</td></table><script>alert('x')</script>\x00\x1b[31m\u202e reversed \ud800",
        "",
        "x" * 5_000,
    ]
    return report(*noisy(labels, 300, 0.3), labels, texts)


def no_error() -> Report:
    labels = ["no", "yes"]
    made = report(*noisy(labels, 300, 0.0), labels, ["fine"])
    return replace(made, halves={"recurrent": 0.98, "linear": 1.0})


def five_rows() -> Report:
    truth, answers = ["a", "b", "a", "b", "c"], ["a", "b", "b", "b", "a"]
    made = report(truth, answers, ["a", "b", "c"], ["one", "two", "three"])
    one = LearningCurves((0.7,), (0.6,), 1)
    return replace(made, curves=one, halves={"recurrent": 0.4}, texts=replace(made.texts, lengths=np.array([3, 4, 9])))


def does_not_know() -> Report:
    labels = ["cancel", "refund", "track"]
    truth, answers = noisy(labels, 600, 0.2)
    given = [None if place % 9 == 0 else answer for place, answer in enumerate(answers)]
    made = report([*truth, "label never seen in training"], [*given, "refund"], labels, ["Where is my money?"])
    unsure = replace(made.dev, abstain_below=0.42, given=True, uncalibrated=None)
    return replace(made, dev=unsure, texts=replace(made.texts, unseen=1))


def spans() -> Report:
    """Every kind of mistake, in texts of all sorts."""
    text = "Ada Smith of <b>Acme</b>, Oslo, met 小美 in Bergen \u202e today. " + "And so on. " * 60
    ada, acme, oslo = Span(0, 9, "person"), Span(16, 20, "firm"), Span(26, 30, "place")
    far = Span(len(text) - 9, len(text) - 1, "place")
    true = [(ada, acme, oslo), (ada, oslo), (ada,), (), (acme, far), (ada, acme, oslo)]
    said = [
        (ada, acme, oslo),
        (Span(0, 3, "person"), Span(26, 30, "firm")),
        (Span(4, 9, "firm"),),
        (acme,),
        (acme,),
        (oslo,),
    ]
    made = report(true, said, ["firm", "person", "place"], [text])
    errors = tuple(
        replace(e, given=with_texts(e.given, text), believed=with_texts(e.believed, text)) for e in made.errors
    )
    return replace(made, task="tag", part="span", errors=errors, suspects=(), halves={})


def tags() -> Report:
    truth, answers = noisy(["NOUN", "VERB", "X"], 400, 0.1)
    places = [(start, start + 4) for start in range(0, 20, 5)]
    rows = [
        [
            tuple(Span(*place, tag) for place, tag in zip(places, side[at : at + 4], strict=True))
            for at in range(0, 400, 4)
        ]
        for side in (truth, answers)
    ]
    rows[1][0] = rows[1][0][:3]  # of the last token the model is not sure enough
    made = report(rows[0], rows[1], ["NOUN", "VERB", "X"], ["some word tags here"])
    unsure = Disagreement(1, "some word tags here", rows[0][0], rows[1][0], 0.9)
    made = replace(made, errors=(unsure, *made.errors))
    return replace(made, task="tag", part="tag", halves={})


CASES = [
    two_labels,
    many_labels,
    chinese,
    several_labels,
    long_and_hostile,
    no_error,
    five_rows,
    does_not_know,
    spans,
    tags,
]


@dataclass
class Page(HTMLParser):
    """What stands in a page, and whether its tags close in order."""

    def __post_init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        self.links += [found[name] for name in ("href", "src", "xlink:href") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another tag at {self.getpos()}"

    def handle_data(self, data):
        self.words.append(data)


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    return page


@pytest.fixture(scope="module")
def pages():
    return {case.__name__: report_html(case()) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_page_is_whole_small_and_asks_nothing_of_the_net(case, pages):
    html = pages[case.__name__]
    page = read(html)
    assert page.open == []
    assert "script" not in page.tags
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links), page.links
    assert len(set(page.ids)) == len(page.ids)
    assert len(html.encode("utf-8")) < 400_000  # lone surrogates would fail here
    assert not re.search(r"@import|url\((?!#)", html)
    assert not re.search(r"\b(nan|None(?!: )|inf)\b", "".join(page.words))


def test_the_same_report_gives_the_same_bytes(pages):
    assert report_html(two_labels()) == pages["two_labels"]


def test_a_page_says_what_it_leaves_out(pages):
    assert "Shown are 20 of 150 labels" in pages["many_labels"]
    assert pages["many_labels"].count('<td class="bar">') == 150
    assert "pairs more are not shown" in pages["many_labels"]
    assert "Shown are" not in pages["two_labels"]
    assert "(200,000 characters)" in pages["long_and_hostile"]


def test_few_rows_no_error_and_no_answer_are_said(pages):
    assert "5 dev rows are few: each one moves a share by 20.0%" in pages["five_rows"]
    assert "None: every answer on dev is right." in pages["no_error"]
    assert "word order adds nothing measurable" in pages["no_error"]
    assert "67 dev rows (11.1%) get no answer" in pages["does_not_know"]
    assert "before calibration</th>" not in pages["does_not_know"]
    for name in ("two_labels", "chinese"):
        assert "are few" not in pages[name]
        assert "no answer" not in pages[name]


def test_spans_are_told_by_kinds_of_mistakes_and_shown_in_their_texts(pages):
    html = pages["spans"]
    rows = re.findall(r"<tr><th><bdi>(\w[\w ]*)</bdi></th>((?:<td class=\"n\">[^<]*</td>){6})</tr>", html)
    counts = {label: re.findall(r">([^<]*)</td>", cells) for label, cells in rows if len(re.findall("<td", cells)) == 6}
    assert counts["all labels"] == ["5", "1", "1", "1", "3", "1"]
    assert counts["person"] == ["1", "1", "–", "1", "1", "–"]
    assert '<mark class="wrong">Ada<small>person</small></mark> Smith' in html
    assert '&lt;b&gt;<mark class="wrong">Acme<small>firm</small></mark>' in html
    assert '<mark class="right">Oslo<small>place</small></mark>' in html
    assert "<i>true</i><bdi>…" in html  # a mistake far behind is brought into view
    assert "spans found with this label" in html
    assert "to the last span" in html


def test_wrong_tags_are_marked_with_both(pages):
    assert re.search(r'<mark class="wrong">(some|word|tags|here)<small>NOUN → VERB</small></mark>', pages["tags"])
    assert re.search(r'<mark class="wrong">here<small>(NOUN|VERB|X) → no label</small></mark>', pages["tags"])
    assert "Kinds of mistakes" not in pages["tags"]
    assert "to the last tag" in pages["tags"]


def test_the_calibration_error_is_that_of_the_metrics(pages):
    dev = two_labels().dev
    error = calibration_error(dev.calibrated.confidence, dev.calibrated.right)
    assert f'<th>after</th><td class="n">{error:.1%}</td>' in pages["two_labels"]


def test_import_draws_nothing():
    script = "import sys, cellgate.report; print({'matplotlib', 'jinja2', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_worst_are_the_surest_wrong_answers():
    confidence = np.array([0.9, 0.4, 0.8, 0.99, 0.7], np.float32)
    assert worst(list("aabab"), ["b", "b", "b", "a", None], confidence).tolist() == [0, 1]
    assert len(worst(["a"] * 99, ["b"] * 99, np.ones(99, np.float32))) == WORST_ROWS


def test_confused_labels_of_one_and_of_several():
    assert confused(["a", "a"], ["a", "b"]) == {("a", "a"): 1, ("a", "b"): 1}
    assert confused(["a"], [None]) == {("a", NOTHING): 1}
    assert confused([("a", "b"), ("a",), ()], [("a", "c"), (), ("b",)]) == {
        ("a", "a"): 1,
        ("b", "c"): 1,
        ("a", NOTHING): 1,
        (NOTHING, "b"): 1,
    }


def test_labels_of_spans_are_paired_where_they_overlap_whatever_their_ends():
    truth = [(Span(0, 3, "a"), Span(5, 9, "b"), Span(12, 13, "a"))]
    answers = [(Span(0, 3, "a"), Span(5, 7, "b"), Span(7, 9, "c"), Span(20, 21, "c"))]
    wanted = {("a", "a"): 1, ("b", "b"): 1, (NOTHING, "c"): 2, ("a", NOTHING): 1}
    assert confused(truth, answers) == wanted


def test_the_busiest_part_of_a_matrix():
    pairs = confused(list("aaabbccd"), list("abbbacdd"))
    whole = matrix(pairs, list("abcd"), 10)
    assert (whole.names, whole.of, whole.errors, whole.shown_errors) == (tuple("abcd"), 4, 4, 4)
    assert whole.counts.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    part = matrix(pairs, list("abcd"), 2)
    assert (part.names, part.of, part.errors, part.shown_errors) == (("a", "b"), 4, 4, 3)
    assert mixed_up(pairs)[0] == ("a", "b", 2)


def test_label_scores_agree_with_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    labels = [f"l{place}" for place in range(7)]
    truth, answers = noisy(labels, 300, 0.3)
    found = {score.label: score for score in label_scores(truth, answers, [*labels, "never met"])}
    p, r, f, n = precision_recall_fscore_support(truth, answers, labels=labels)
    for place, label in enumerate(labels):
        score = found[label]
        assert (score.precision, score.recall, score.f1) == pytest.approx((p[place], r[place], f[place]))
        assert score.support == n[place]
    assert (found["never met"].f1, found["never met"].support) == (None, 0)
    assert list(found)[-1] == "never met"
    assert [found[name].f1 for name in labels if name] != sorted(f)  # they come worst first, not by name
    assert [score.f1 for score in list(found.values())[:-1]] == sorted(found[name].f1 or 0 for name in labels)


def test_the_likely_share_narrows_with_rows():
    assert likely_share(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # a textbook's interval
    assert likely_share(0, 5)[0] == 0
    assert likely_share(5, 5)[1] == 1
    few, many = likely_share(9, 10), likely_share(900, 1_000)
    assert few[1] - few[0] > many[1] - many[0]
