"""Public data sets as files that a user would have: some lie there as they are read, others are written anew."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cellgate.bench.sets import root_folder
from cellgate.errors import DataError, UsageError, listed, nearest


@dataclass(frozen=True)
class SetFiles:
    """Files to train on, to choose by (None: held out) and to judge by, and the flags that they are read with."""

    train: Path
    dev: Path | None
    test: Path
    flags: tuple[str, ...] = ()


Reader = Callable[[Path, Path], SetFiles]
"""Takes the folder of a set, and a folder to write into."""


@dataclass(frozen=True)
class FileSets:
    """Sets by name, each with its folder's name and its reader."""

    readers: Mapping[str, tuple[str, Reader]]

    @property
    def names(self) -> list[str]:
        """Names of the sets that can be measured."""
        return sorted(self.readers)

    def find(self, name: str) -> Path:
        """Return the folder of a set; UsageError where the name, CELLGATE_DATA or the folder is wrong."""
        if name not in self.readers:
            hint = nearest(name, self.names) or f"; data sets: {listed(self.names)}"
            raise UsageError(f"no data set {name!r}{hint}")
        return root_folder(self.readers[name][0])

    def files(self, name: str, made: Path) -> SetFiles:
        """The files of a set; what has to be written anew goes into the folder `made`."""
        folder = self.find(name)
        try:
            return self.readers[name][1](folder, made)
        except (OSError, EOFError, zlib.error, ValueError, LookupError) as error:
            raise DataError(
                f"{folder} is not as the data set {name!r} should be ({error}); copy it there again"
            ) from error
