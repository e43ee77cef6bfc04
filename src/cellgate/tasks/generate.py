"""generate: write on behind a text, and say how probable a text is.

tokens [B, T] -> vectors -> LSTM layers, forward -> [B, T, D] -> log-probabilities of the next token [B, T, V]
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import field_validator, model_validator

from cellgate.codecs import NextCodec, UnitsCodec
from cellgate.config import AnswerConfig, TaskConfig, TrainConfig, UnitsConfig, WriterConfig
from cellgate.task import Row, Task

if TYPE_CHECKING:
    from cellgate.nets import Writer


class Record(Row):
    """A document; or a part of one, where it ends with a line end, which the next row goes on."""

    text: str
    label: str | None = None  # of a document: what it is to be written like
    following: str | None = None  # the token behind the text; None: to be found

    @field_validator("label")
    @classmethod
    def _blank_is_none(cls, label: str | None) -> str | None:
        return (label or "").strip() or None


class Config(TaskConfig):
    """Settings of a language model."""

    text: UnitsConfig = UnitsConfig()
    writer: WriterConfig = WriterConfig()
    train: TrainConfig = TrainConfig(batch_rows=32, batch_tokens=2_048, learning_rate=0.01, weight_decay=1e-5, clip=0.5)

    @model_validator(mode="before")
    @classmethod
    def _without_answer(cls, values: object) -> object:
        """Leave out settings of answers at their defaults: the first Bundles of this task name them."""
        usual, answer = AnswerConfig().model_dump(), values.get("answer") if isinstance(values, Mapping) else None
        if not isinstance(values, Mapping) or not isinstance(answer, Mapping) or {**usual, **answer} != usual:
            return values
        return {name: value for name, value in values.items() if name != "answer"}


def net(config: Config, source: UnitsCodec, target: NextCodec) -> "Writer":  # noqa: ARG001
    """Build the untrained net."""
    from cellgate.nets import Writer  # torch comes only where a net is trained

    return Writer(config.writer, target.rows)


TASK = Task(
    about="Write text like yours, and say how probable a text is.",
    record=Record,
    given=("text",),
    wanted="following",
    config=Config,
    net=net,
    source=lambda config: lambda pieces: UnitsCodec.learn(config.text, pieces),
    target=lambda config: NextCodec,  # noqa: ARG005
    toy=(
        Record(text="The kettle hums at seven. Nobody is up but the cat.\n"),
        Record(text="The cat asks for milk; the kettle has none to give.\n"),
        Record(text="猫等着，水还没开。\n"),
    ),
    example="plays.txt -o plays",
    optional=("label",),
    running=True,
)
