"""cellgate train TASK FILE... -o FOLDER: from files to a Bundle, with a task's settings as flags."""

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cellgate.bundle import open_bundle, work_folder
from cellgate.cli.about import about
from cellgate.cli.progress import EventLog, drawing
from cellgate.cli.settings import field_flags, given, resolve, setting_flags
from cellgate.cli.sources import (
    FILES_HELP,
    Reading,
    layout_of,
    named_columns,
    open_as_trained,
    open_input,
    open_source,
    origin,
    read_as,
    training_flags,
)
from cellgate.cli.stop import Stop, stoppable
from cellgate.cli.words import STANDARD_INPUT, clock, megabytes, say
from cellgate.config import TaskConfig
from cellgate.data.records import Records
from cellgate.errors import UsageError, counted
from cellgate.fit.events import Done, Event, Step
from cellgate.plan import Plan, SelfTraining
from cellgate.starting import language_of, language_settings
from cellgate.task import Row, find, names
from cellgate.training import check_folder, is_trained, train_events

_EXAMPLE = "Example: cellgate train {} {}"
_USAGE = "Usage: cellgate train {} FILE... -o FOLDER [OPTIONS]"
_FIRST = "classify"  # the task that is shown to who asks for no other
_WRITER = "generate"  # the task that reads texts alone
_LOOKED_AT = 200  # texts, to tell how they are written
APP = App(
    name="train",
    usage=_USAGE.format("TASK"),
    help_epilogue=_EXAMPLE.format(_FIRST, find(_FIRST).example),
    group_commands="Tasks",
)


@dataclass(frozen=True)
class Order:
    """What is to be done, beside the data and the settings."""

    out: Annotated[
        str | None, Parameter(name=("--out", "-o"), metavar="FOLDER", help="Where the Bundle is written.")
    ] = None
    dev: Annotated[
        str | None, Parameter(metavar="FILE", help="Rows to judge and calibrate by.", show_default="some are held out")
    ] = None
    resume: Annotated[
        bool, Parameter(negative=(), help="Go on from the unfinished training of FOLDER.", show_default=False)
    ] = False
    config: Annotated[str | None, Parameter(metavar="FILE", help="Settings as YAML; flags override it.")] = None
    print_config: Annotated[
        bool, Parameter(negative=(), help="Print all settings as YAML and stop.", show_default=False)
    ] = False


def _texts_flag(use: str) -> Parameter:
    """Of files of texts without answers."""
    told = f"Texts without answers, any number of them: {use}"
    return Parameter(metavar="FILE", negative=(), help=told, show_default=False)


@dataclass(frozen=True)
class Beginning:
    """What is learned from before the rows with answers, or beside them."""

    language: Annotated[
        str | None,
        Parameter(
            name="--from", metavar="FOLDER", help="Begin with what this language model learned (train generate)."
        ),
    ] = None
    freeze: Annotated[
        bool, Parameter(negative=(), help="Leave that as it is; train only what is above.", show_default=False)
    ] = False
    pretrain: Annotated[
        tuple[str, ...],
        _texts_flag("first their language is learned, in FOLDER.language, then training begins from that."),
    ] = ()
    self_train: Annotated[
        tuple[str, ...],
        _texts_flag(
            "a first model is trained, in FOLDER.teacher, then one that learns from its sure answers to these texts as "
            "well (--train.sure)."
        ),
    ] = ()


def _verb(task: str) -> App:
    """The verb for one task: its record and its settings are flags."""

    def run(
        *files: str,
        columns: object = None,
        order: Order | None = None,
        beginning: Beginning | None = None,
        reading: object = None,
        settings: object = None,
    ) -> int:
        began = time.monotonic()
        order, how, beginning = order or Order(), read_as(reading), beginning or Beginning()
        if (*files, order.dev, *beginning.pretrain, *beginning.self_train).count(STANDARD_INPUT) > 1:
            raise UsageError("standard input (-) can be read only once; name files for the others")
        config = resolve(find(task).config, order.config, settings)
        config = _begun(config, beginning, order)
        if order.print_config:
            print(config.to_yaml(), end="")
            return 0
        plan = _plan(task, config, files, order, how, given(columns))
        check_folder(plan)  # before what comes first is trained
        first: list[tuple[Plan, str]] = []
        if beginning.pretrain:
            language = _language_plan(plan, beginning.pretrain, how)
            first.append((language, "a language model, of the texts without answers"))
        if beginning.self_train:
            teacher = _teaching(plan)
            first.append((teacher, "a first model, of the rows with answers"))
            plan = _self_training(plan, teacher.folder, beginning.self_train, how)
        for each, what in first:
            if code := _train_first(each, what, resume=order.resume):
                return code
        if code := _run(
            plan, train_events(plan, resume=order.resume and (work_folder(plan.folder).exists() or not first))
        ):
            return code
        _report(plan, time.monotonic() - began)
        return 0

    found = find(task)
    flat = Parameter(name="*")
    begins = "start" in found.config.model_fields
    run.__annotations__ |= {  # made from the task: no text of a program can name these types
        "files": Annotated[str, Parameter(name="FILE", help=FILES_HELP)],
        "columns": Annotated[field_flags(found.fields, found.optional) | None, flat],
        "order": Annotated[Order | None, flat],
        "beginning": Annotated[Beginning | None, flat if begins else Parameter(parse=False)],
        "reading": Annotated[training_flags(found, begins=begins) | None, flat],
        "settings": Annotated[setting_flags(found.config) | None, flat],
    }
    app = App(
        name=task, help=found.about, usage=_USAGE.format(task), help_epilogue=_EXAMPLE.format(task, found.example)
    )
    app.default(run)
    return app


for _task in names():
    APP.command(_verb(_task))


def _begun(config: TaskConfig, beginning: Beginning, order: Order) -> TaskConfig:
    """The settings with what the flags say of where training begins."""
    if beginning == Beginning():
        return config
    if beginning.language and beginning.pretrain:
        raise UsageError("--from names a language model, --pretrain makes one; give one of them")
    language = beginning.language or (f"{_folder(order.out)}.language" if beginning.pretrain else None)
    values = config.model_dump()
    values["start"] |= {"language": language} if language else {}
    values["start"] |= {"freeze": True} if beginning.freeze else {}
    return type(config).parse(values, "the flags")


def _language_plan(plan: Plan, files: tuple[str, ...], reading: Reading) -> Plan:
    """The training of the language model that another one begins with."""
    records = _texts(plan, files, reading)
    config = language_settings(plan.config, map(attrgetter("text"), islice(records, _LOOKED_AT)))
    return Plan(_WRITER, config, records, None, Path(language_of(plan.config)), origin(records))


def _teaching(plan: Plan) -> Plan:
    """The training of the first model: as the second one's, whatever that one takes for sure."""
    values = plan.config.model_dump()
    del values["train"]["sure"]
    config = type(plan.config).parse(values, "the flags")
    return replace(plan, config=config, folder=Path(f"{plan.folder}.teacher"))


def _self_training(plan: Plan, teacher: Path, files: tuple[str, ...], reading: Reading) -> Plan:
    """The training that learns from a teacher's answers to the texts of files, too."""
    records, task = _texts(plan, files, reading), find(plan.task)
    texts = map(task.read, map(attrgetter("text"), records))
    facts = {**plan.origin, "self_trained": origin(records)}
    return replace(plan, origin=facts, self_training=SelfTraining(teacher, texts))


def _texts(plan: Plan, files: tuple[str, ...], reading: Reading) -> Records[Row]:
    """Texts without answers: tables whose column is called as in the rows, or a text a line."""
    columns = {name: column for name, column in plan.origin["columns"].items() if name == "text"}
    trained = {"columns": columns, "layout": "lines"}
    source = open_as_trained(files, find(_WRITER), {"text": None}, reading, trained)
    for note in source.notes:
        say(note)
    return source.records


def _train_first(plan: Plan, what: str, *, resume: bool) -> int:
    """Train a model that another one needs, unless it is there; `what` says what it is."""
    if is_trained(plan):
        say(f"{plan.folder} is there: {what} and with these settings")
        return 0
    say(f"{plan.folder} comes first: {what}")
    return _run(plan, train_events(plan, resume=resume and work_folder(plan.folder).exists()), more=True)


def _plan(
    name: str, config: TaskConfig, files: tuple[str, ...], order: Order, reading: Reading, columns: Mapping[str, str]
) -> Plan:
    """Open the files and say what was found out about them."""
    task = find(name)
    folder = _folder(order.out)
    named = named_columns(columns, task.fields)
    source = open_source(open_input(files, reading.encoding, layout_of(task, reading, {})), task, named, reading)
    sources, facts = [source], origin(source.records)
    if order.dev:
        # Where training found columns by number there is no header, and dev has no other names for them either.
        chosen = source.records.columns
        named = {field: chosen[field] if chosen.get(field, "").isdecimal() else name for field, name in named.items()}
        sources.append(open_as_trained([order.dev], task, named, reading, facts))
        facts["dev"] = origin(sources[1].records)
    for note in (note for each in sources for note in each.notes):
        say(note)
    if reading.skip_bad_rows:
        problems = [each.records.problems() for each in sources]
        facts["skipped_rows"] = sum(found.count for found in problems)
        for found in problems:
            if found.count:
                say(str(found))
    dev = sources[1].records if order.dev else None
    return Plan(name, config, source.records, dev, folder, facts)


def _folder(out: str | None) -> Path:
    """Where the Bundle goes: a name that is free, or a folder that may be put aside."""
    if not out:
        raise UsageError("no folder was named for the Bundle; add -o FOLDER")
    folder = Path(out)
    if Path.cwd().is_relative_to(folder.resolve()):
        raise UsageError(f"-o {out} is the folder you are in, or one around it; name one for the Bundle alone")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {out} is a file that exists; name a folder for the Bundle")
    return folder


def _run(plan: Plan, events: Generator[Event, None, None], *, more: bool = False) -> int:
    """Draw what happens; 0, or how the program ends where it was stopped.

    A stop that came too late for this training still stops what would come after it, if there is more.
    """
    log = EventLog(work_folder(plan.folder) / "events.jsonl")
    with stoppable() as stop, drawing() as shown:
        run = TrainingRun(stop)
        for event in run.follow(events):
            log.add(event)
            shown.show(event)
    if run.stopped:
        say(run.farewell())
        return stop.exit_code
    log.keep(plan.folder)
    if more and stop.signal:
        say(f"stopped with {plan.folder} done; go on with --resume")
        return stop.exit_code
    return 0


@dataclass
class TrainingRun:
    """How far a training is, and whether it was stopped on the way."""

    stop: Stop
    last: Step | None = None
    stopped: bool = False

    def follow(self, events: Generator[Event, None, None]) -> Iterator[Event]:
        """Hand events on; close them after a step once a stop was asked for.

        After the last step a stop would save nothing and cost the export: the Bundle is written first.
        """
        trained = False
        for event in events:
            yield event
            if isinstance(event, Step):
                self.last = event
            trained = trained or isinstance(event, Done)
            between = isinstance(event, Step) or self.last is None
            if self.stop.signal and between and not trained:
                events.close()
                self.stopped = True
                return

    def farewell(self) -> str:
        """Say where it stopped."""
        if self.last is None:
            return "stopped before the first step; go on with --resume"
        return f"stopped at step {self.last.step:,} of {self.last.steps:,}; go on with --resume"


def _report(plan: Plan, seconds: float) -> None:
    """Say in words what was made and what to do with it."""
    bundle, folder = open_bundle(plan.folder), plan.folder
    told, data = about(bundle), bundle.manifest["data"]
    size = sum(path.stat().st_size for path in folder.iterdir())
    how = "of the dev file" if data["dev_given"] else "held out from your files"
    print(f"\n{folder} is ready: {megabytes(size)}, trained in {clock(seconds)}.\n")
    print(f"On {counted(told.judged, told.part)} {how}:")
    print("\n".join((*told.metrics, *told.epochs)))
    if data.get("skipped_rows"):
        print(f"{counted(data['skipped_rows'], 'bad row was', 'bad rows were')} left out.")
    print(f"\nHow it went and {told.shown}: {folder}/report.html")
    print(f"\nThose {told.part}s {told.role}; a file it has never met is the fairer judge:")
    print(f"  cellgate evaluate {folder} {told.test_file}")
    print("\n".join(told.uses))
