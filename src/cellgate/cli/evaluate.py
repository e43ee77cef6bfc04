"""cellgate evaluate FOLDER FILE...: a Bundle's answers against known ones."""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli.figures import label_rows, metric_rows, mistake_rows, running_rows
from cellgate.cli.recent import Adapt, Cache, in_words
from cellgate.cli.settings import field_flags, given
from cellgate.cli.sources import FILES_HELP, Reading, Source, all_fields, named_columns, open_as_trained
from cellgate.cli.words import clock, cut_short, say
from cellgate.data.readers import Problems
from cellgate.errors import UsageError, counted
from cellgate.language import Adapting, Language
from cellgate.neural_cache import NeuralCache

_MANY_UNKNOWN = 0.1  # share of unknown tokens from which a figure says little of a text
_EXAMPLE = "Example: cellgate evaluate intents test.csv"
APP = App(name="evaluate", usage="Usage: cellgate evaluate FOLDER FILE... [OPTIONS]", help_epilogue=_EXAMPLE)


@APP.default
def evaluate(
    folder: Annotated[str, Parameter(help="The Bundle.")],
    /,
    *files: Annotated[str, Parameter(name="FILE", help=FILES_HELP)],
    columns: object = None,
    reading: Annotated[Reading | None, Parameter(name="*")] = None,
    abstain_below: Annotated[
        float | None,
        Parameter(metavar="SHARE", help="Answer only where at least this sure, 0 to 1.", show_default="as trained"),
    ] = None,
    adapt: Annotated[Adapt | None, Parameter(name="*")] = None,
    cache: Annotated[Cache | None, Parameter(name="*")] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print one JSON object.", show_default=False)
    ] = False,
) -> None:
    """Answer every row of the files and compare."""
    if not files:
        raise UsageError("no file was named to evaluate on; give one or more, such as test.csv")
    bundle = open_bundle(folder)
    if abstain_below is not None:
        bundle = bundle.abstaining_below(abstain_below)
    task, reading = bundle.task, reading or Reading()
    named = named_columns(given(columns), task.fields)
    source = open_as_trained(files, task, named, reading, bundle.manifest["data"])
    for note in source.notes:
        say(note)
    adapting, recalling = (adapt or Adapt()).wanted, (cache or Cache()).wanted
    if task.running:
        _foretell(bundle, source, reading, adapting, recalling, as_json=as_json)
        return
    if adapting or recalling:
        raise UsageError(
            f"--adapt and --cache are for models that write, and {folder} answers ({bundle.manifest['task']})"
        )
    _compare(bundle, source, reading, as_json=as_json)


def _compare(bundle: Bundle, source: Source, reading: Reading, *, as_json: bool) -> None:
    """Say how many answers are right."""
    began, problems = time.monotonic(), Problems()
    result = bundle.evaluate(source.records.read(problems))
    seconds = time.monotonic() - began
    if problems.count:
        say(str(problems))
    _warn_unseen(bundle, result)
    if result["cut"]:
        say(f"warning: {cut_short(result['cut'], result['n'], bundle.source.max_tokens)}")
    if as_json:
        _print_json(bundle, result, problems, reading, seconds)
        return
    print(f"On {counted(result['n'], 'row')} ({clock(seconds)}):")
    print("\n".join(metric_rows(bundle.supervised, result)))
    if "mistakes" in result:
        print("\n".join(("", *mistake_rows(result["mistakes"]))))
    print("\n".join(("", *label_rows(result["labels"]))))


def _print_json(
    bundle: Bundle, result: Mapping[str, Any], problems: Problems, reading: Reading, seconds: float
) -> None:
    skipped = {"skipped_rows": problems.count} if reading.skip_bad_rows else {}
    about = {"task": bundle.manifest["task"], "folder": str(bundle.folder)}
    print(json.dumps({**about, **result, **skipped, "seconds": round(seconds, 3)}, ensure_ascii=False))


def _foretell(
    bundle: Bundle,
    source: Source,
    reading: Reading,
    adapting: Adapting | None,
    cache: NeuralCache | None,
    *,
    as_json: bool,
) -> None:
    """Say how well a running text is foretold: by the model as it stands, with a cache, and where it learns on."""
    began, problems = time.monotonic(), Problems()
    language, recalling = Language.of(bundle), Language.of(bundle.recalling(cache)) if cache else None
    if adapting:
        from cellgate.training import require_training  # only here is torch needed

        require_training()
    result = language.evaluate(source.records.read(problems))
    told = list(running_rows(result))
    if cache and recalling:
        result["cached"] = recalling.evaluate(source.records.read(Problems()))
        told += ["", f"{in_words(cache)}, which is another figure:"]
        told += running_rows(result["cached"])
    if adapting:
        from cellgate.adapting import evaluate_adapting

        result["adapted"] = evaluate_adapting(language, source.records.read(Problems()), adapting)
        told += ["", f"Learning from what it has read (--adapt, rate {adapting.rate:g}), which is another figure:"]
        told += running_rows(result["adapted"])
    seconds = time.monotonic() - began
    if problems.count:
        say(str(problems))
    _warn_unknown(bundle, result)
    if as_json:
        _print_json(bundle, result, problems, reading, seconds)
        return
    print(f"On {counted(result['n'], 'token')} ({clock(seconds)}):")
    print("\n".join(told))


def _warn_unknown(bundle: Bundle, result: Mapping[str, Any]) -> None:
    """Say where many tokens are unknown: a figure is then of another text than the one given."""
    share, data = result["unknown"] / result["n"], bundle.manifest["data"]
    if share > _MANY_UNKNOWN:
        usual = data["unknown"] / data["tokens"]
        say(
            f"warning: {share:.1%} of the tokens are unknown to the model (of those it was trained on {usual:.1%}) "
            "and all one to it: the text is foretold less well than these figures say"
        )


def _warn_unseen(bundle: Bundle, result: Mapping[str, Any]) -> None:
    """Say which labels no training row had: such rows cannot be answered right."""
    unseen: dict[str, int] = result["unseen"]
    if not unseen:
        return
    told = bundle.supervised.all_unseen(unseen)
    count = "counts" if result["unseen_rows"] == 1 else "count"
    say(f"warning: {result['unseen_rows']:,} of {counted(result['n'], 'row')} {count} as wrong: {told}")


evaluate.__annotations__["columns"] = Annotated[field_flags(all_fields(wanted=True)) | None, Parameter(name="*")]
