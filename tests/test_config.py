"""Settings: typed at the door, frozen, written once; a wrong name or value is said with what would be right."""

import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from cellgate import task
from cellgate.config import AnswerConfig, Options, TaskConfig, TextConfig, setting_names
from cellgate.errors import UsageError

CONFIGS = {name: task.find(name).config for name in task.names()}
Classify, Generate = CONFIGS["classify"], CONFIGS["generate"]


def bounds(metadata: list[Any]) -> dict[str, float]:
    """Limits that a field's annotations set, by pydantic's names."""
    found: dict[str, float] = {}
    for item in metadata:
        for part in getattr(item, "metadata", [item]):
            found |= {name: getattr(part, name) for name in ("ge", "gt", "le", "lt") if hasattr(part, name)}
    return found


def values_of(annotation: Any, limits: dict[str, float]) -> st.SearchStrategy[Any]:
    """Every value a setting may take, from its type alone."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        return values_of(inner, limits | bounds(metadata))
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(part, limits) for part in get_args(annotation)])
    if annotation is type(None):
        return st.none()
    if annotation is str:
        return st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        most = limits.get("le", limits.get("lt", 2**40 + 1) - 1)
        return st.integers(int(limits.get("ge", -(2**40))), int(most))
    if annotation is float:
        low, high = limits.get("ge", limits.get("gt", -1e300)), limits.get("le", limits.get("lt", 1e300))
        return st.floats(low, high, allow_nan=False, exclude_min="gt" in limits, exclude_max="lt" in limits)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return configs(annotation)
    raise NotImplementedError(f"no values known for {annotation}")


def configs(cls: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Settings of a class, any of them left at its default."""
    hints = typing.get_type_hints(cls, include_extras=True)

    def made(values: dict[str, Any]) -> BaseModel:
        try:
            return cls(**values)
        except ValidationError:  # settings that exclude each other
            reject()

    fields = {name: values_of(hints[name], bounds(field.metadata)) for name, field in cls.model_fields.items()}
    return st.fixed_dictionaries({}, optional=fields).map(made)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_settings_survive_yaml(name: str, data: st.DataObject) -> None:
    config = data.draw(configs(CONFIGS[name]))
    again = CONFIGS[name].parse(yaml.safe_load(config.to_yaml()), "config.yaml")
    assert again == config
    assert again.to_yaml() == config.to_yaml()


@pytest.mark.parametrize("name", CONFIGS)
def test_yaml_names_every_setting_and_every_setting_is_explained(name: str) -> None:
    cls = CONFIGS[name]

    def names(values: dict[str, Any], prefix: str = "") -> list[str]:
        found = []
        for key, value in values.items():
            found.append(prefix + key)
            found += names(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        return found

    assert names(yaml.safe_load(cls().to_yaml())) == setting_names(cls)

    def unexplained(group: type[BaseModel]) -> list[str]:
        inner = [field.annotation for field in group.model_fields.values()]
        groups = [part for part in inner if isinstance(part, type) and issubclass(part, BaseModel)]
        flags = {key: field for key, field in group.model_fields.items() if field.annotation not in groups}
        missing = [key for key, field in flags.items() if not field.description]
        return missing + [key for part in groups for key in unexplained(part)]

    assert unexplained(cls) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_every_task_has_the_common_settings(name: str) -> None:
    assert issubclass(CONFIGS[name], TaskConfig)
    assert CONFIGS[name].parse({}, "nothing") == CONFIGS[name]()


def test_what_writes_has_no_settings_of_answers_and_reads_those_of_its_first_bundles() -> None:
    assert not [name for name in setting_names(Generate) if name.startswith("answer")]
    old = {"answer": AnswerConfig().model_dump(), "train": {"seed": 3}}
    assert Generate.parse(old, "bundle.json") == Generate.parse({"train": {"seed": 3}}, "bundle.json")
    with pytest.raises(UsageError, match=r"no setting 'answer' in my\.yaml"):
        Generate.parse({"answer": {"precision": 0.9}}, "my.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encodr": {}}, "no setting 'encodr' in my.yaml; did you mean 'encoder'?"),
        ({"encoder": {"hiden": 3}}, "no setting 'encoder.hiden' in my.yaml; did you mean 'encoder.hidden'?"),
        ({"train": {"rate": 3}}, "no setting 'train.rate' in my.yaml"),
        ({"head": {"qqqq": 3}}, "no setting 'head.qqqq' in my.yaml; settings here: head.dropout, head.label_smoothing"),
        ({"qqqq": 3}, "no setting 'qqqq' in my.yaml; settings here: train, answer, text, encoder, start, head, linear"),
    ],
)
def test_an_unknown_setting_stops_with_the_nearest_right_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Classify.parse(values, "my.yaml")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"encoder": {"hidden": "wide"}}, ["'encoder.hidden'", "integer", "'wide'"]),
        ({"encoder": {"hidden": 0}}, ["'encoder.hidden'", "greater than or equal to 1", "got 0"]),
        ({"encoder": {"layers": 4}}, ["'encoder.layers'", "less than or equal to 3", "got 4"]),
        ({"encoder": {"cell": "lstn"}}, ["'encoder.cell'", "'lstm', 'peephole', 'gru' or 'rnn'", "'lstn'"]),
        ({"encoder": 7}, ["'encoder'", "got 7"]),
        ({"head": {"dropout": 1.0}}, ["'head.dropout'", "less than 1", "got 1.0"]),
        ({"train": {"learning_rate": -1}}, ["'train.learning_rate'", "greater than 0", "got -1"]),
        ({"train": {"epochs": "automatic"}}, ["'train.epochs'", "valid integer", "'auto'", "'automatic'"]),
        ({"train": {"max_steps": 0}}, ["'train.max_steps'", "greater than or equal to 1", "got 0"]),
        ({"linear": {"words": 9}}, ["'linear.words'", "less than or equal to 4", "'auto'", "got 9"]),
        ({"linear": {"characters": "perhaps"}}, ["'linear.characters'", "valid boolean", "'auto'", "'perhaps'"]),
        ({"linear": {"enabled": "perhaps"}}, ["'linear.enabled'", "boolean", "'perhaps'"]),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(values: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        Classify.parse(values, "my.yaml")
    message = str(error.value)
    assert all(part in message for part in [*parts, "in my.yaml"]), message
    assert "\n" not in message


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(UsageError, match=r"my\.yaml"):
        Classify.parse(["text"], "my.yaml")  # type: ignore[arg-type]


def test_settings_cannot_be_changed() -> None:
    config = TextConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.lowercase = False  # type: ignore[misc]
    assert hash(config) == hash(TextConfig())
    assert config.model_copy(update={"lowercase": False}) != config


def test_names_are_listed_in_order_with_their_groups() -> None:
    class Inner(Options):
        depth: int = 1

    class Outer(Options):
        first: int = 1
        inner: Inner = Inner()
        last: Annotated[int, Field(ge=0)] = 2

    assert setting_names(Outer) == ["first", "inner", "inner.depth", "last"]
