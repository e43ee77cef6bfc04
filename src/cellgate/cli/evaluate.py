"""cellgate evaluate FOLDER FILE...: a Bundle's answers against known ones."""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from cellgate.bundle import Bundle, open_bundle
from cellgate.cli.figures import label_rows, metric_rows, mistake_rows, running_rows
from cellgate.cli.settings import field_flags, given
from cellgate.cli.sources import FILES_HELP, Reading, Source, all_fields, named_columns, open_as_trained
from cellgate.cli.words import clock, cut_short, say
from cellgate.data.readers import Problems
from cellgate.errors import UsageError
from cellgate.language import Language

_ADAPT_RATE = 1e-3
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
    adapt: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Of a model that writes: judge it also while it learns from what it has read (dynamic evaluation; "
            "needs the extra train).",
        ),
    ] = False,
    adapt_rate: Annotated[
        float | None, Parameter(metavar="RATE", help="How fast it learns then.", show_default="0.001")
    ] = None,
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
    if task.running:
        rate = (adapt_rate if adapt_rate is not None else _ADAPT_RATE) if adapt or adapt_rate is not None else None
        _foretell(bundle, source, reading, rate, as_json=as_json)
        return
    if adapt or adapt_rate is not None:
        raise UsageError(f"--adapt is for models that write, and {folder} answers ({bundle.manifest['task']})")
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
    print(f"On {result['n']:,} rows ({clock(seconds)}):")
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


def _foretell(bundle: Bundle, source: Source, reading: Reading, rate: float | None, *, as_json: bool) -> None:
    """Say how well a running text is foretold: by the model as it stands, and where it goes on learning at a rate."""
    began, problems = time.monotonic(), Problems()
    language = Language.of(bundle)
    result = language.evaluate(source.records.read(problems))
    if rate is not None:
        from cellgate.training import require_training  # only here is torch needed

        require_training()
        from cellgate.adapting import Adapting, evaluate_adapting

        result["adapted"] = evaluate_adapting(language, source.records.read(Problems()), Adapting(rate))
    seconds = time.monotonic() - began
    if problems.count:
        say(str(problems))
    if as_json:
        _print_json(bundle, result, problems, reading, seconds)
        return
    print(f"On {result['n']:,} tokens ({clock(seconds)}):")
    print("\n".join(running_rows(result)))
    if rate is not None:
        print(f"\nLearning from what it has read (--adapt, rate {rate:g}), which is another figure:")
        print("\n".join(running_rows(result["adapted"])))


def _warn_unseen(bundle: Bundle, result: Mapping[str, Any]) -> None:
    """Say which labels no training row had: such rows cannot be answered right."""
    unseen: dict[str, int] = result["unseen"]
    if not unseen:
        return
    told = bundle.supervised.all_unseen(unseen)
    say(f"warning: {result['unseen_rows']:,} of {result['n']:,} rows count as wrong: {told}")


evaluate.__annotations__["columns"] = Annotated[field_flags(all_fields(wanted=True)) | None, Parameter(name="*")]
