"""What works on this machine and what does not, as values. Nothing here needs more than Python itself."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

_MODULES = {"charset-normalizer": "charset_normalizer", "pyyaml": "yaml"}  # where the two names differ


@dataclass(frozen=True, slots=True)
class Library:
    """A library that Cellgate asks for: which versions do, which is here, and why that will not do."""

    name: str
    wanted: str
    found: str
    problem: str  # empty: it can be imported and is new enough


@dataclass(frozen=True, slots=True)
class Backend:
    """What one backend of the recurrence says to a cell on a device."""

    device: str
    cell: str
    name: str
    refusal: str  # empty: it does not refuse


def libraries(extra: str = "") -> list[Library]:
    """Import the libraries of an extra ("": the plain install), as the installed package names them."""
    return [_library(name, wanted) for name, wanted in _required(extra)]


def backends() -> list[Backend]:
    """Who computes each cell in float32 on each device, in the order they are asked; needs torch.

    The first that does not refuse serves.
    """
    import torch

    from cellgate import ops

    found = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for cell in ops.GATES:
            with torch.device(device):
                verdicts = ops.backends(cell, torch.zeros(2, 3, 4), ops.init_weights(cell, 4, 4))
            found += [Backend(device, cell, verdict.backend, verdict.refusal or "") for verdict in verdicts]
    return found


def _library(name: str, wanted: str) -> Library:
    try:
        importlib.import_module(_MODULES.get(name, name))
        found = version(name)
    except (ImportError, OSError) as error:  # OSError: a shared library that is missing or of another machine
        return Library(name, wanted, "", f"missing or broken: {error}")
    old = _numbers(found) < _numbers(wanted)
    return Library(name, wanted, found, f"{found} is too old: {wanted} is needed" if old else "")


def _numbers(stated: str) -> tuple[int, ...]:
    """The numbers of a version, or of a lower bound such as `>=2.11`: what stands before any mark behind them."""
    found = re.match(r"(?:>=)?\s*(\d+(?:\.\d+)*)", stated)
    numbers = tuple(map(int, found.group(1).split("."))) if found else ()
    return numbers[: max((place for place, number in enumerate(numbers, 1) if number), default=0)]  # 2.0 is 2


def _required(extra: str) -> Iterator[tuple[str, str]]:
    """Names and version bounds of an extra's libraries; none where Cellgate itself was not installed."""
    try:
        stated = requires("cellgate") or []
    except PackageNotFoundError:
        return
    for line in stated:
        requirement, _, marker = line.partition(";")
        of = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        found = re.match(r"[\w.-]+", requirement)
        if found and (of.group(1) if of else "") == extra:
            yield found.group(), requirement[found.end() :].strip()
