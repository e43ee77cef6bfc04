"""Training drawn from its events: a bar on a terminal, plain lines elsewhere, JSON lines in a file."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cellgate.cli.words import clock, metric_name, say
from cellgate.errors import counted
from cellgate.fit.events import Done, Epoch, Event, Note, Saved, Step, Work

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_LINES = 10.0
_SMOOTHING = 0.9  # of rate and loss, a step

_METRICS = 2  # shown of an epoch, the one that chooses first


class Drawing(Protocol):
    """Shows events as they come."""

    def show(self, event: Event) -> None:
        """Draw one event."""


@contextmanager
def drawing() -> Iterator[Drawing]:
    """The way of drawing that suits stderr."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[facts]}"))
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        yield _Bar(progress, progress.add_task("reading", total=None, facts=""))


@dataclass
class _Pace:
    """What the steps so far say of speed, loss and time left."""

    began: float = 0.0
    first: int = 0
    rate: float = 0.0  # tokens a second
    loss: float = 0.0

    def facts(self, step: Step) -> str:
        """Take a step in; say how it goes."""
        rate = step.tokens / max(step.seconds, 1e-9)
        if not self.began:
            # The step itself is behind us: time left counts from here.
            self.began, self.first, self.rate, self.loss = time.monotonic(), step.step, rate, step.loss
        self.rate += (1 - _SMOOTHING) * (rate - self.rate)
        self.loss += (1 - _SMOOTHING) * (step.loss - self.loss)
        done = step.step - self.first
        words = f"step {step.step:,}/{step.steps:,}  loss {self.loss:.3f}  {self.rate:,.0f} tokens/s"
        if not done:
            return words
        return f"{words}  {clock((time.monotonic() - self.began) / done * (step.steps - step.step))} left"


def _epoch(event: Epoch) -> str:
    metrics = "  ".join(f"{metric_name(name)} {event.metrics[name]:.4f}" for name in list(event.metrics)[:_METRICS])
    kept = "  kept" if event.kept else ""
    loss = f"loss {event.loss:.3f}"
    return f"epoch {event.epoch}/{event.epochs}  {clock(event.seconds)}  {loss}  dev {metrics}{kept}"


def _work(event: Work) -> str:
    if event.total:
        return f"{event.name}: {event.done:,} of {counted(event.total, 'row')}"
    return f"{event.name}: {counted(event.done, 'row')}" if event.done else event.name


@dataclass
class _Lines:
    """Plain lines: every note and epoch, and between them one at most every few seconds."""

    pace: _Pace = field(default_factory=_Pace)
    said: float = field(default_factory=time.monotonic)

    def show(self, event: Event) -> None:
        match event:
            case Note():
                self._say(event.text)
            case Epoch():
                self._say(_epoch(event))
            case Work():
                self._say_at_times(_work(event))
            case Step():
                self._say_at_times(f"epoch {event.epoch}  {self.pace.facts(event)}")
            case Done():
                self._say(event.reason)
            case Saved():
                pass

    def _say_at_times(self, text: str) -> None:
        if time.monotonic() - self.said >= _SECONDS_BETWEEN_LINES:
            self._say(text)

    def _say(self, text: str) -> None:
        say(text)
        self.said = time.monotonic()


@dataclass
class _Bar:
    """A bar of the work in hand, with notes and epochs as lines above it."""

    progress: "Progress"
    task: "TaskID"
    pace: _Pace = field(default_factory=_Pace)

    def show(self, event: Event) -> None:
        match event:
            case Note():
                self.progress.console.print(event.text, markup=False)
            case Epoch():
                self.progress.console.print(_epoch(event), markup=False)
            case Work():
                self._update(event.name, event.done, event.total, "")
            case Step():
                self._update(f"epoch {event.epoch}", event.step, event.steps, self.pace.facts(event))
            case Done():
                self.progress.console.print(event.reason, markup=False)
            case Saved():
                pass

    def _update(self, name: str, done: int, total: int | None, facts: str) -> None:
        self.progress.update(self.task, description=name, completed=done, total=total, facts=facts)


@dataclass
class EventLog:
    """Events as JSON lines in the work folder, each on disk before the next is made."""

    path: Path
    kept: str = ""

    def add(self, event: Event) -> None:
        """Append an event; steps and work in hand are not kept."""
        match event:
            case Step() | Work():
                return
            case Epoch() | Note() | Saved() | Done():
                line = {"event": type(event).__name__, "at_unix_s": round(time.time(), 3), **asdict(event)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if isinstance(event, Done):  # the work folder goes when the Bundle stands
            self.kept = self.path.read_text("utf-8")

    def keep(self, folder: Path) -> None:
        """Write the whole log into the finished Bundle."""
        (folder / self.path.name).write_text(self.kept, "utf-8")
