"""What every record says besides its figures: which machine, which commit, which versions, which command.

MB is 10^6 bytes and GB 10^9 everywhere in the benchmarks.
"""

import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cellgate
from cellgate.config import usable_cores
from cellgate.errors import UsageError

Record = dict[str, Any]  # one measurement: a flat JSON object with `bench`, its figures, and the stamp

_PACKAGE = Path(cellgate.__file__).parent
_VERSIONS = ("cellgate", "numpy", "onnxruntime", "tokenizers", "torch", "scikit-learn", "keras", "jax")


def require_extra(train: Sequence[str] = ()) -> None:
    """Stop with UsageError where the extra `bench`, or what is named of the extra `train`, is not installed."""
    missing = [name for name in ("psutil", "sklearn", *train) if find_spec(name) is None]
    if missing:
        extras = "train,bench" if train else "bench"
        raise UsageError(
            f"benchmarks need {' and '.join(missing)}, not installed here; pip install 'cellgate[{extras}]'"
        )


def stamp(command: Sequence[str]) -> Record:
    """Say where, when and by which command a measurement is made; `load_before` is the machine's 1-minute load."""
    import psutil

    return {
        "machine": machine(),
        "load_before": round(psutil.getloadavg()[0], 2),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: found for name in _VERSIONS if (found := _version(name))},
        "command": shlex.join([Path(command[0]).name, *command[1:]]),
    }


def machine() -> Record:
    """CPU model, cores this process may use, memory [GB], Python and platform."""
    import psutil

    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def commit() -> str:
    """Short hash of the checkout this package runs from, `+dirty` where it differs; `unknown` where it is none.

    The pages of results are left out of the comparison: writing them down does not change what was measured.
    """
    if _git("ls-files", "--error-unmatch", "version.py") is None:  # installed, perhaps inside another checkout
        return "unknown"
    head, changes = (
        _git("rev-parse", "--short", "HEAD"),
        _git("status", "--porcelain", "--", ":/", ":(top,exclude)docs"),
    )
    return f"{head}{'+dirty' if changes else ''}" if head else "unknown"


def _git(*words: str) -> str | None:
    """Run git where the package lies; None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *words], cwd=_PACKAGE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
