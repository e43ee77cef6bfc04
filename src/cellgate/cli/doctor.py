"""cellgate doctor: what works on this machine, and why the rest does not."""

import os
import platform
from collections.abc import Iterator, Sequence

from cyclopts import App

from cellgate.cli.words import row
from cellgate.doctor import Backend, Library, backends, libraries
from cellgate.version import __version__

APP = App(name="doctor", usage="Usage: cellgate doctor", help_epilogue="")


@APP.default
def doctor() -> int:
    """Look at Python, the libraries, the processor and the recurrence's backends; 0 if answering works."""
    answering, training = libraries(), libraries("train")
    unfit = [library.name for library in answering if library.problem]
    untrained = unfit + [library.name for library in training if library.problem]
    parts = [_machine(counted=not unfit), _libraries("Answering (predict, evaluate, inspect)", answering)]
    parts.append(_libraries("Training (train)", training))
    if not untrained:
        parts.append(_backends(backends()))
    parts.append(_verdict("answering", unfit, "pip install --force-reinstall cellgate"))
    parts.append(_verdict("training", untrained, "pip install 'cellgate[train]'"))
    print("\n".join("\n".join(part) for part in parts))
    return 1 if unfit else 0


def _machine(*, counted: bool) -> Iterator[str]:
    cores = f"{os.cpu_count()} cores"
    if counted:  # the module asked stands on libraries that may be missing
        from cellgate.config import usable_cores

        cores += f", {usable_cores()} usable here"
    yield row("cellgate", __version__)
    yield row("python", f"{platform.python_version()} on {platform.platform()}")
    yield row("processor", f"{platform.machine()}, {cores}")
    if counted:
        from cellgate.kernel import missing, rounding_widths, widths

        rounded = ", ".join(rounding_widths())
        rounded = f"; for training, of bfloat16: {rounded}" if rounded else ""
        yield row(
            "native kernel", missing or f"built; vectors: {', '.join(widths())}{rounded} (the first of each is used)"
        )


def _libraries(title: str, found: Sequence[Library]) -> Iterator[str]:
    yield f"\n{title}"
    for library in found:
        yield row(library.name, library.problem or f"{library.found} ({library.wanted})")


def _backends(found: Sequence[Backend]) -> Iterator[str]:
    yield "\nBackends of the recurrence, for each cell: the first serves, the others stand by"
    willing: dict[str, list[str]] = {}
    refused: dict[tuple[str, str], list[str]] = {}
    for each in found:
        if each.refusal:
            refused.setdefault((f"{each.device} {each.name}", each.refusal), []).append(each.cell)
        else:
            willing.setdefault(f"{each.device} {each.cell}", []).append(each.name)
    yield from (row(cell, ", ".join(names)) for cell, names in willing.items())
    yield from (row(name, f"refuses {', '.join(cells)}: {why}") for (name, why), cells in refused.items())
    yield ""


def _verdict(work: str, missing: Sequence[str], remedy: str) -> Iterator[str]:
    yield row(work, f"does not work without {', '.join(missing)}; {remedy}" if missing else "works")
