"""Writing a file whole or not at all."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then put it in its place; until then what stood there stands."""
    staged = path.with_name(path.name + ".part")
    staged.write_bytes(content)
    os.replace(staged, path)
