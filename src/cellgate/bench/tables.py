"""Records as tables, targets beside figures: what the page of results and the command line both show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cellgate.bench import cells_tables, speed_tables
from cellgate.bench.figures import (
    STAMP,
    Figure,
    Group,
    Table,
    Target,
    cell,
    count,
    listed_cells,
    mb,
    number,
    percent,
    seconds,
)
from cellgate.bench.machine import Record

ABOUT = {
    "quality": "Answers on the test rows of public sets, trained with default settings by `cellgate train`; time and "
    "memory are of that whole process. Linear: TF-IDF and a linear SVM on the same rows.",
    "ablation": "The same with one part of the recipe left out, or another in its place; nothing is chosen by it.",
    "kernels": "One LSTM layer in one direction over rows of uneven length, float32: medians of rounds in which all "
    "take turns, and how many times as long as ours each other takes. torch padded (oneDNN) computes the padding too; "
    "torch packed and onnxruntime know lengths. Work counts real tokens only; sgemm is the quicker of "
    "torch's two matrix products, MKL's and oneDNN's, on the same threads (until commit 0c6cb87 MKL's alone). "
    "Ratios over the shapes are geometric means.",
    "train": "A BiLSTM classifier as a plain torch user writes it: the same net, initial weights and batches, only the "
    "recurrence differs. Rates are medians of short blocks of steps that take turns; accuracy is the mean over seeds "
    "after the same number of steps.",
    "tagging": "Answering: `cellgate predict FOLDER FILE` of test rows, repeated to 200,000 tokens, less what the "
    "first text alone takes, by a Bundle trained for a few steps. Training: our steps of `train tag` and those of "
    "Flair's SequenceTagger, same sizes, tokens and batches, in processes of their own that take turns; no pretrained "
    "vectors. Medians.",
    "generate": "Training: a language model of characters (2 x 512) and one of 33,278 words (1 x 512), beside the same "
    "net in plain torch (nn.LSTM, softmax over all tokens), blocks of steps taking turns, medians; ours drops and "
    "penalises as by default, and samples the softmax over words. Writing: one text by a Bundle of 2 x 512 characters.",
    "cells": "The cells side by side. On sets: the recurrent half alone, all other settings alike; dev chooses the "
    "epoch that is kept. On problems: one layer of 64 units that reads one way, learned anew at each lag from the same "
    "batches of 32 rows; a cell fails at the first lag that less than half of the seeds solve, and longer ones are not "
    "tried. adding: the sum of two marked numbers of a row as long as the lag; solved where the mean squared error is "
    "at most half of the 0.167 that always answering 1 gets. copy: 4 symbols of 8, repeated after so many blanks; "
    "solved where at most 1 % are wrong, of which chance gets 87.5 %. Steps and errors are medians over seeds.\n\n"
    "![Steps that each cell needs at each lag, and its accuracy on each set](cells.svg)",
    "install": "What `pip install` without extras adds to a new environment.",
    "startup": "A new process in an environment without torch, median of several.",
    "lines": "Short lines piped through one `cellgate predict FOLDER -`.",
    "stream": "One text without end through a Session, by a net that reads one way: what a token costs where words "
    "come one by one, and in pieces of 2,048 characters, after a few tokens (early) and after the last (late).",
    "large": "A training on an invented CSV file, stopped after a set number of steps.",
}

_COSTS = (
    Figure("train_seconds", "training", seconds),
    Figure("peak_mb", "peak memory", mb),
    Figure("bundle_mb", "Bundle", mb),
    Figure("n", "test rows", count),
)
_QUALITY = (
    Figure("accuracy", "accuracy", percent),
    Figure("macro_f1", "macro F1", percent),
    Figure("linear.sklearn_tokens.accuracy", "linear, scikit-learn's tokens", percent),
    Figure("linear.our_tokens.accuracy", "linear, our tokens", percent),
    *_COSTS,
)
_LOOKED_FOR = (  # of sets that have such; with the better linear model's beside
    Figure("micro_f1", "micro F1", percent),
    Figure("macro_f1", "macro F1", percent),
    Figure("positive_f1", "F1 of what is looked for", percent),
    Figure("in_scope_accuracy", "accuracy in scope", percent),
    Figure("out_of_scope_recall", "recall out of scope", percent),
)
_SELF_TRAINED = (
    Figure("accuracy", "accuracy", percent),
    Figure("teacher.accuracy", "of the first model", percent),
    Figure("self_trained_rows", "texts without labels learned from", count),
)
_TAGGED = (
    Figure("span_f1", "span F1", percent),
    Figure("span_precision", "precision", percent),
    Figure("span_recall", "recall", percent),
    Figure("token_accuracy", "token accuracy", percent),
    *_COSTS,
)
_FORETOLD = (
    Figure("perplexity", "perplexity", number),
    Figure("nats", "nats a token", number),
    Figure("bits_per_character", "bits a character", number),
    Figure("adapted.perplexity", "perplexity, adapting", number),
    Figure("kneser_ney.perplexity", "of Kneser-Ney 5-grams", number),
    Figure("train_seconds", "training", seconds),
    Figure("peak_mb", "peak memory", mb),
    Figure("bundle_mb", "Bundle", mb),
    Figure("n", "test tokens", count),
)
_ABLATION = (
    Figure("accuracy", "accuracy", percent),
    Figure("train_seconds", "training", seconds),
    Figure("bundle_mb", "Bundle", mb),
)
_LIMITS: dict[str, tuple[Figure, ...]] = {
    "install": (Figure("size_mb", "installed size", mb),),
    "startup": (
        Figure("help_seconds", "`--help`", seconds),
        Figure("predict_seconds", "`predict` of one text", seconds),
    ),
    "lines": (
        Figure("lines", "lines", count),
        Figure("lines_per_second", "lines a second", count),
        Figure("peak_mb", "peak memory", mb),
        Figure("mb_at_a_tenth", "memory after a tenth", mb),
        Figure("mb_at_the_end", "memory at the end", mb),
    ),
    "stream": (
        Figure("tokens", "tokens", count),
        Figure("us_by_word_early", "word by word, early [us]", number),
        Figure("us_by_word_late", "word by word, late [us]", number),
        Figure("us_in_pieces_early", "in pieces, early [us]", number),
        Figure("us_in_pieces_late", "in pieces, late [us]", number),
        Figure("tokens_per_second", "tokens a second", count),
        Figure("mb_early", "memory early", mb),
        Figure("mb_late", "memory late", mb),
    ),
    "large": (
        Figure("gigabytes", "file [GB]", number),
        Figure("peak_mb", "peak memory", mb),
        Figure("peak_private_mb", "of it without mapped files", mb),
        Figure("peak_uss_mb", "unique (USS)", mb),
        Figure("peak_pss_mb", "proportional (PSS)", mb),
        Figure("seconds", "time", seconds),
    ),
}


def _quality_targets(item: str, minutes: float, least: Mapping[str, float]) -> dict[tuple[str, str, str], Target]:
    """What a set should reach: shares of 1 at least, within so many minutes of training."""
    targets = {("quality", item, path): Target(value, at_least=True) for path, value in least.items()}
    return {**targets, ("quality", item, "train_seconds"): Target(60 * minutes, at_least=False)}


_BUNDLE = Target(60, at_least=False)
_TARGETS: dict[tuple[str, str, str], Target] = {  # bench, data set or nothing, figure
    ("quality", "imdb", "bundle_mb"): Target(120, at_least=False),
    ("quality", "imdb_1000_pretrained", "bundle_mb"): Target(120, at_least=False),  # of as many texts as imdb's
    **_quality_targets("imdb", 15, {"accuracy": 0.92}),
    **_quality_targets("imdb_1000_pretrained", 40, {"accuracy": 0.875}),
    **_quality_targets("sst2", 4, {"accuracy": 0.832}),
    **_quality_targets("trec", 3, {"accuracy": 0.905}),
    **_quality_targets("banking77", 5, {"accuracy": 0.93}),
    **_quality_targets("clinc150", 6, {"accuracy": 0.938}),
    **_quality_targets("chnsenticorp", 8, {"accuracy": 0.93}),
    **_quality_targets("thucnews_titles", 8, {"accuracy": 0.918}),
    **_quality_targets("clinc150_scope", 6, {"in_scope_accuracy": 0.915, "out_of_scope_recall": 0.5}),
    **_quality_targets("sms_spam", 2, {"positive_f1": 0.965}),
    **_quality_targets("financial_phrasebank", 5, {}),
    **_quality_targets("toutiao_5k", 5, {}),
    **_quality_targets("dbpedia14", 5, {}),
    **_quality_targets("reuters21578", 5, {}),
    **_quality_targets("ag_news_noisy", 5, {}),
    **_quality_targets("ud_english_ewt", 12, {"token_accuracy": 0.95}),
    **_quality_targets("ud_chinese_gsd_v1", 8, {"token_accuracy": 0.93}),
    **_quality_targets("ud_chinese_gsd_v1_words", 8, {"span_f1": 0.93}),
    **_quality_targets("resume_ner", 6, {"span_f1": 0.95}),
    **_quality_targets("msra_ner", 20, {"span_f1": 0.885}),
    **_quality_targets("cluener2020", 15, {"span_f1": 0.69}),
    **_quality_targets("wikiann_en", 12, {"span_f1": 0.78}),
    **_quality_targets("wnut17", 5, {"span_f1": 0.25}),
    ("quality", "tiny_shakespeare", "nats"): Target(1.55, at_least=False),
    ("quality", "tiny_shakespeare", "train_seconds"): Target(600, at_least=False),
    ("quality", "wikitext2", "perplexity"): Target(150, at_least=False),
    ("quality", "wikitext2", "adapted.perplexity"): Target(125, at_least=False),
    ("quality", "wikitext2", "train_seconds"): Target(1_500, at_least=False),
    ("quality", "chinese_poetry", "train_seconds"): Target(900, at_least=False),
    ("install", "", "size_mb"): Target(230, at_least=False),
    ("startup", "", "help_seconds"): Target(0.3, at_least=False),
    ("startup", "", "predict_seconds"): Target(1.0, at_least=False),
    ("lines", "", "lines_per_second"): Target(3_000, at_least=True),
    ("lines", "", "peak_mb"): Target(400, at_least=False),
    ("large", "", "peak_mb"): Target(2_000, at_least=False),
}


def grouped(records: Iterable[Record]) -> list[Group]:
    """Gather the newest record of each seed, by bench, set and machine."""
    newest: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in records:
        item = f"{record['set']}: {record['part']}" if record["bench"] == "ablation" else record.get("set", "")
        key = (record["bench"], item, _machine(record["machine"]))
        newest.setdefault(key, {})[record.get("seed", 0)] = record
    return [Group(*key, tuple(seeds[seed] for seed in sorted(seeds))) for key, seeds in sorted(newest.items())]


def tables(groups: Sequence[Group], named: Callable[[str], str] = str) -> list[Table]:
    """Draw the groups of one bench; `named` is how a machine is written."""
    bench = groups[0].bench
    if bench == "kernels":
        return speed_tables.kernels(groups, named)
    if bench == "train":
        return speed_tables.train(groups, named)
    if bench == "tagging":
        return speed_tables.tagging(groups, named)
    if bench == "generate":
        return speed_tables.generate(groups, named)
    if bench == "cells":
        return cells_tables.tables(groups, named)
    if bench == "ablation":
        return [_table(groups, "set: without, or with", _ABLATION, {}, named)]
    if bench == "quality":
        tagged = [group for group in groups if group.records[0].get("task") == "tag"]
        foretold = [group for group in groups if group.records[0].get("task") == "generate"]
        labelled = [group for group in groups if group not in (*tagged, *foretold)]
        tables = [_table(tagged, "set (tag)", _TAGGED, {}, named)] if tagged else []
        if foretold:
            tables.append(_table(foretold, "set (generate)", _FORETOLD, {"below 5-grams": _below}, named))
        if labelled:
            tables.insert(0, _table(labelled, "set", _QUALITY, {"against linear": _against_linear}, named))
        taught = [group for group in labelled if group.value("teacher.accuracy") is not None]
        if taught:
            tables.append(_table(taught, "set (self-training)", _SELF_TRAINED, {}, named))
        return [*tables, *_looked_for(labelled, named)]
    return [_limit(groups, named)]


def _looked_for(groups: Sequence[Group], named: Callable[[str], str]) -> list[Table]:
    """Figures of several labels, of one that is looked for, of texts out of scope: no table where no set has any."""
    special = [figure for figure in _LOOKED_FOR if figure.path != "macro_f1"]
    chosen = [group for group in groups if any(group.value(figure.path) is not None for figure in special)]
    return [_table(chosen, "set", _LOOKED_FOR, {"linear, our tokens": _linear}, named)] if chosen else []


def _linear(group: Group) -> str:
    found = [
        f"{figure.heading} {figure.written(value)}"
        for figure in _LOOKED_FOR
        if group.value(figure.path) is not None
        and (value := group.value(f"linear.our_tokens.{figure.path}")) is not None
    ]
    return ", ".join(found)


def _table(
    groups: Sequence[Group],
    item: str,
    figures: Sequence[Figure],
    beside: Mapping[str, Callable[[Group], str]],
    named: Callable[[str], str],
) -> Table:
    """A row a group: its seeds, its figures, what stands beside them by heading, and its stamp."""
    head = (item, "seeds", *(figure.heading for figure in figures), *beside, *STAMP)
    rows = [
        (
            group.item,
            listed_cells([record["seed"] for record in group.records]),
            *_cells(group, figures),
            *(told(group) for told in beside.values()),
            *group.stamp(named),
        )
        for group in groups
    ]
    return Table(head, tuple(rows))


def _limit(groups: Sequence[Group], named: Callable[[str], str]) -> Table:
    figures = _LIMITS[groups[0].bench]
    rows = [(*_cells(group, figures), *group.stamp(named)) for group in groups]
    return Table((*(figure.heading for figure in figures), *STAMP), tuple(rows))


def _cells(group: Group, figures: Sequence[Figure]) -> list[str]:
    def target(figure: Figure) -> Target | None:
        return _TARGETS.get((group.bench, group.item, figure.path), _BUNDLE if figure.path == "bundle_mb" else None)

    return [cell(group, figure, target(figure)) for figure in figures]


def _machine(machine: Mapping[str, Any]) -> str:
    """Say which machine; its Python and kernel change without it being another."""
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB"


def _below(group: Group) -> str:
    """By how much of theirs the perplexity is below that of n-grams; at least 15 % is wanted of poems."""
    ours, theirs = group.value("perplexity"), group.value("kneser_ney.perplexity")
    if ours is None or theirs is None:
        return "-"
    share = 1 - ours / theirs
    return Target(0.15, at_least=True).beside(share, percent) if group.item == "chinese_poetry" else percent(share)


def _against_linear(group: Group) -> str:
    """Points of accuracy, or of micro F1 of several labels, above or below the better linear model."""
    score = "accuracy" if group.value("accuracy") is not None else "micro_f1"
    ours, *yardsticks = map(group.value, (score, f"linear.sklearn_tokens.{score}", f"linear.our_tokens.{score}"))
    known = [value for value in yardsticks if value is not None]
    return f"{100 * (ours - max(known)):+.2f}" if ours is not None and known else "-"
