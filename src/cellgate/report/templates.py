"""The templates of reports, which stand beside this module; what all pages share is `frame.html`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def render(name: str, values: Mapping[str, Any], filters: Mapping[str, Callable[..., str]]) -> str:
    """Fill in a template. Texts are escaped, whatever they hold; a value that is not given is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"number": "{:,}".format, **filters}
    return pages.get_template(name).render(values)
