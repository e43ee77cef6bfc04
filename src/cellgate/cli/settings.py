"""Flags from a task's typed settings, and the settings that a file and the flags make together.

A flag exists for every setting because the class has that field; names, help and defaults are the class's own.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, make_dataclass
from inspect import cleandoc
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from cyclopts import Group, Parameter
from pydantic import BaseModel

from cellgate.config import TaskConfig
from cellgate.data.files import find_files
from cellgate.errors import UsageError

_MANY = 3  # accepted words that make a list of choices


def setting_flags(cls: type[BaseModel], defaults: BaseModel | None = None) -> type:
    """Make a dataclass whose fields are the settings as they are typed on a command line; None: not given."""
    made: list[tuple[str, Any, Any]] = []
    for name, field in cls.model_fields.items():
        kind, default = field.annotation, getattr(defaults, name) if defaults else field.default
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            group = Group(f"--{name}.*", help=cleandoc(kind.__doc__ or ""), sort_key=len(made) + 10)
            made.append((name, Annotated[setting_flags(kind, default) | None, Parameter(group=group)], None))
            continue
        accepted = _accepted(kind)
        parameter = Parameter(
            help=" ".join((field.description or "").split()),
            metavar="|".join(accepted) if len(accepted) < _MANY else "CHOICE",
            choices=accepted if len(accepted) >= _MANY else None,
            show_default=_written(default),
            allow_leading_hyphen=True,
        )
        made.append((name, Annotated[str | None, parameter], None))
    return make_dataclass(cls.__name__, made, frozen=True, namespace={"__module__": __name__})


def field_flags(names: tuple[str, ...], optional: tuple[str, ...] = ()) -> type:
    """Make a dataclass of a record's fields, each naming a column; None: to be guessed, but not where `optional`."""
    made = []
    for name in names:
        about = f"The column that holds the {name}: its name, or its number from 1 in files without a header."
        parameter = Parameter(help=about, metavar="COLUMN", show_default="none" if name in optional else "guessed")
        made.append((name, Annotated[str | None, parameter], None))
    return make_dataclass("Columns", made, frozen=True, namespace={"__module__": __name__})


def given(flags: object) -> dict[str, Any]:
    """The flags that were given, nested as their names are."""
    if not is_dataclass(flags):
        return {}
    values = {field.name: getattr(flags, field.name) for field in fields(flags)}
    nested = {name: value if isinstance(value, str) else given(value) for name, value in values.items()}
    return {name: value for name, value in nested.items() if value != {}}


def resolve(cls: type[TaskConfig], path: str | None, flags: object) -> TaskConfig:
    """Settings of a file, overridden by flags; what neither names has its default."""
    values = read_settings(path) if path else {}
    if path:
        cls.parse(values, path)  # so that the message names the file where the file is wrong
    return cls.parse(_merged(values, _typed(cls, given(flags))), "the flags")


def read_settings(path: str) -> dict[str, Any]:
    """Read a YAML file of settings."""
    (found,) = find_files([path])
    try:
        with open(found, encoding="utf-8-sig") as file:
            values = yaml.safe_load(file)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"{path} holds no settings: write `name: value` lines, as --print-config does")
    return values


def _typed(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401  the annotation of a group
    """Flags as values of the settings of a class: a word that is one of a setting's choices stays a word."""
    kinds = {name: field.annotation for name, field in cls.model_fields.items()}
    return {
        name: _typed(kinds[name], value)
        if not isinstance(value, str)
        else value
        if value in _words(kinds[name])
        else _value(value)
        for name, value in values.items()
    }


def _words(kind: Any) -> list[str]:  # noqa: ANN401  annotations of any kind
    """The choices of a setting that are words."""
    if get_origin(kind) is Literal:
        return [choice for choice in get_args(kind) if isinstance(choice, str)]
    if get_origin(kind) is Annotated:
        return _words(get_args(kind)[0])
    return [word for part in get_args(kind) if get_origin(kind) in (Union, UnionType) for word in _words(part)]


def _value(text: str) -> Any:  # noqa: ANN401  the settings class judges it
    """Read a flag as a number, true, false or none where it is one, else as text."""
    if text.casefold() in ("none", "null"):
        return None
    try:
        value = json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text
    return text if isinstance(value, (dict, list, str)) else value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = _merged(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return merged


def _accepted(kind: Any) -> list[str]:  # noqa: ANN401  annotations of any kind
    """Say what a setting takes, e.g. ["NUMBER", "auto"]."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if get_origin(kind) is Annotated:
        return _accepted(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [name for part in get_args(kind) for name in _accepted(part)]
    known = {bool: ["true", "false"], int: ["NUMBER"], float: ["NUMBER"], type(None): ["none"]}
    return known.get(kind, ["TEXT"])


def _written(default: object) -> str:
    """Write a default as one types it."""
    return str(default).lower() if default is None or isinstance(default, bool) else str(default)
