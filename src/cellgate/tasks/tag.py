"""tag: mark the spans of a text that name a person, a place, a date, ...; or give each token its part of speech.

words [B, T] -> Encoder, both directions -> [B, T, 2H] -> linear chain over tags
                features of a Window     -> [B, T, K]  -> linear chain over tags     averaged -> spans of characters
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from cellgate.codecs import ChainCodec, Given, TextCodec, learn_tags
from cellgate.config import (
    AnsweringConfig,
    AnsweringTrainConfig,
    EncoderConfig,
    StartConfig,
    TaggerConfig,
    TextConfig,
    WindowConfig,
)
from cellgate.metrics import Spans
from cellgate.spans import Span, check_marks, read_marked
from cellgate.task import Row, Task

if TYPE_CHECKING:
    from cellgate.nets import Tagger


class Record(Row):
    """A text and its spans; or its tokens, and a tag for each.

    Tags that mark spans by a scheme, such as B-PERSON, are taken as spans of the tokens between spaces.
    """

    text: Given
    spans: Spans | tuple[str, ...] | None = None  # None: to be found; offsets are code points of the text

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: object) -> object:
        return read_marked(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _fit(self) -> Self:
        check_marks(self.text, self.spans or ())
        return self


class TaggerTrainConfig(AnsweringTrainConfig):
    """The course of a tagger's training."""

    imbalance: Literal["none", "sampling"] = "none"
    """Against labels with few rows: rows are drawn so that all labels come up alike, each row by the rarest it has."""


class Config(AnsweringConfig):
    """Settings of a tagger."""

    train: TaggerTrainConfig = TaggerTrainConfig(batch_rows=32)
    text: TextConfig = TextConfig(lowercase=False, max_tokens=1_000_000)
    encoder: EncoderConfig = EncoderConfig(
        spelling=64, pairs="both", own_dropout=0.2, word_dropout=0.05, embedding_dropout=0.4, hidden=192
    )
    start: StartConfig = StartConfig()
    tagger: TaggerConfig = TaggerConfig()
    linear: WindowConfig = WindowConfig()

    @model_validator(mode="after")
    def _a_half(self) -> Self:
        if not (self.encoder.enabled or self.linear.enabled):
            raise ValueError("encoder.enabled and linear.enabled are both false; leave one of the halves")
        return self


def net(config: Config, source: TextCodec, target: ChainCodec) -> "Tagger":
    """Build the untrained net."""
    import torch

    from cellgate.nets import Crf, Emitter, Encoder, RecurrentEmitter, Tagger, Window  # only where a net is trained

    def chain() -> Crf:
        return Crf(target.forbidden, learned=config.tagger.chain)

    halves: dict[str, Emitter] = {}
    if config.encoder.enabled:
        vectors = torch.from_numpy(source.vectors(config.text.vectors)) if config.text.vectors else None
        encoder = Encoder(config.encoder, source.sizes, vectors, config.start)
        halves["recurrent"] = RecurrentEmitter(config.tagger, encoder, chain())
    if config.linear.enabled:
        halves["linear"] = Window(config.linear, source.sizes, chain())
    return Tagger(halves)


TASK = Task(
    about="Mark the spans of a text that name something, or give each token its part of speech.",
    record=Record,
    given=("text",),
    wanted="spans",
    config=Config,
    net=net,
    source=lambda config: (
        lambda texts: TextCodec.learn(config.text, texts, places=True, language=config.start.language)
    ),
    target=lambda config: learn_tags,  # noqa: ARG005
    toy=(
        Record(text="Ada met Bob in Rome.", spans=(Span(0, 3, "person"), Span(8, 11, "person"), Span(15, 19, "place"))),
        Record(text="In Oslo it snows.", spans=(Span(3, 7, "place"),)),
        Record(text="Nobody came.", spans=()),
        Record(text="小美去了北京。", spans=(Span(0, 2, "person"), Span(4, 6, "place"))),
        Record(text="Bob wrote to Ada Smith.", spans=(Span(0, 3, "person"), Span(13, 22, "person"))),
    ),
    example="news.conll -o names",
)
