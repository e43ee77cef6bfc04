"""The exceptions Cellgate raises on purpose.

    CellgateError              any of the below: the message names the thing, the value and the remedy
    ├── UsageError             the command, an option or an argument is wrong           (exit code 2)
    │   ├── DataError          a file or a row of the user's data is wrong              (exit code 2)
    │   └── BundleError        a folder is no Bundle, or a damaged, foreign or newer one (exit code 2)
    └── WorkError              the work itself failed, e.g. the disk is full            (exit code 1)

Everything else that reaches a user is a bug of ours.
"""

import difflib
from collections.abc import Iterable


class CellgateError(Exception):
    """Anything Cellgate stops for on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(CellgateError):
    """The command, an option or an argument is wrong."""

    exit_code = 2


class DataError(UsageError):
    """A file or a row of the user's data is wrong."""


class BundleError(UsageError):
    """A folder is no Bundle, or a damaged, foreign or newer one."""


class WorkError(CellgateError):
    """The work itself failed."""


def nearest(wrong: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'label'?` where a known name is close to `wrong`, else an empty string."""
    matches = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def counted(count: int, one: str, many: str = "") -> str:
    """`1 row`, `2,000 rows`."""
    return f"1 {one}" if count == 1 else f"{count:,} {many or f'{one}s'}"


def listed(names: Iterable[object], limit: int = 12) -> str:
    """Join names for a message, at most `limit` of them."""
    all_names = [str(name) for name in names]
    more = f", ... ({len(all_names) - limit} more)" if len(all_names) > limit else ""
    return ", ".join(all_names[:limit]) + more
