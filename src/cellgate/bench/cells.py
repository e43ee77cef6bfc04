"""RNN, GRU, LSTM and LSTM with peepholes side by side: on public sets, and on problems with growing lags.

Each part is measured alone, a record a part and seed. Importing this needs no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec

from cellgate.bench import sets
from cellgate.bench.child import CELLGATE
from cellgate.bench.machine import Record, require_extra, stamp
from cellgate.bench.sizes import Sizes
from cellgate.errors import UsageError, listed, nearest

SETS = ("sst2", "chnsenticorp")
PROBLEMS = ("adding", "copy")
_SET_SEEDS, _PROBLEM_SEEDS = (0,), (0, 1, 2)


def names() -> list[str]:
    """Names of the parts."""
    return [*SETS, *PROBLEMS]


def cells(chosen: Sequence[str], seeds: Sequence[int] = (), sizes: Sizes | None = None) -> Iterator[Record]:
    """Yield one record a part and seed, as each is measured; no seeds: 0 of a set, 0 to 2 of a problem."""
    require_extra(("torch", "onnx"))
    if find_spec("matplotlib") is None:
        raise UsageError("`bench cells` draws with matplotlib, not installed here; pip install 'cellgate[bench]'")
    for name in chosen:
        if name not in names():
            raise UsageError(f"no part {name!r} of cells{nearest(name, names()) or f'; parts: {listed(names())}'}")
        if name in SETS:
            sets.find(name)  # a set that is not here stops before any work
    for name in chosen:
        measure = _on_set if name in SETS else _on_problem
        for seed in seeds or (_SET_SEEDS if name in SETS else _PROBLEM_SEEDS):
            yield {"bench": "cells", "set": name, "seed": seed, **measure(name, seed, sizes or Sizes())}


def _on_set(name: str, seed: int, sizes: Sizes) -> Record:
    from cellgate.bench import cells_sets
    from cellgate.bench.rounds import checked_threads

    threads = checked_threads(sizes.threads)
    options = {"seed": seed, "threads": threads, "epochs": sizes.epochs, "rows": sizes.rows}
    about = stamp(_command(name, options))
    return {**cells_sets.measured(sets.load(name), seed, threads, sizes), **about}


def _on_problem(name: str, seed: int, sizes: Sizes) -> Record:
    from cellgate.bench import cells_lags
    from cellgate.bench.rounds import checked_threads, torch_threads

    threads = checked_threads(sizes.threads)
    options = {"seed": seed, "threads": threads, "lag-steps": sizes.lag_steps, "longest-lag": sizes.longest_lag}
    about = stamp(_command(name, options))
    with torch_threads(threads):
        return {"threads": threads, **cells_lags.measured(name, seed, sizes), **about}


def _command(name: str, options: Mapping[str, int | None]) -> list[str]:
    words = (word for option, value in options.items() if value is not None for word in (f"--{option}", str(value)))
    return [*CELLGATE, "bench", "cells", name, *words]
