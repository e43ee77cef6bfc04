"""classify: say which of the labels seen in training fit a text: one, or any number of them.

words [B, T] -> Encoder -> [B, T, D*H] -> max + mean + attention -> labels [B, L]
                n-grams  -> Bag       -> labels [B, L]           summed as calibrated log-probabilities
"""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, model_validator

from cellgate.codecs import LabelsCodec, TextCodec, learn_labels
from cellgate.config import AnsweringConfig, BagConfig, EncoderConfig, HeadConfig, StartConfig, TextConfig
from cellgate.metrics import Labels, plain_labels
from cellgate.task import Row, Task

if TYPE_CHECKING:
    from cellgate.nets import Reader


class Record(Row):
    """A text and its label, or its labels."""

    text: str
    label: Annotated[Labels, AfterValidator(plain_labels)] | None = None  # None: to be found


class Config(AnsweringConfig):
    """Settings of a classifier."""

    text: TextConfig = TextConfig()
    encoder: EncoderConfig = EncoderConfig()
    start: StartConfig = StartConfig()
    head: HeadConfig = HeadConfig()
    linear: BagConfig = BagConfig()

    @model_validator(mode="after")
    def _a_half(self) -> Self:
        if not (self.encoder.enabled or self.linear.enabled):
            raise ValueError("encoder.enabled and linear.enabled are both false; leave one of the halves")
        return self


def net(config: Config, source: TextCodec, target: LabelsCodec) -> "Reader":
    """Build the untrained net."""
    import torch

    from cellgate.nets import (  # torch comes only where a net is trained
        Bag,
        Encoder,
        Half,
        Head,
        Reader,
        Recurrent,
        chosen_imbalance,
        label_weights,
        make_output,
    )

    imbalance = chosen_imbalance(config.train.imbalance, target.rows, target.several)
    halves: dict[str, Half] = {}
    if config.encoder.enabled:
        vectors = torch.from_numpy(source.vectors(config.text.vectors)) if config.text.vectors else None
        encoder = Encoder(config.encoder, source.sizes, vectors, config.start)
        halves["recurrent"] = Recurrent(encoder, Head(config.head, encoder.width, len(target)))
    if config.linear.enabled:
        halves["linear"] = Bag(config.linear, source.sizes, label_weights(target.rows, imbalance))
    return Reader(halves, make_output(target.several, target.rows, imbalance))


TASK = Task(
    about="Say which label fits a text.",
    record=Record,
    given=("text",),
    wanted="label",
    config=Config,
    net=net,
    source=lambda config: lambda texts: TextCodec.learn(config.text, texts, language=config.start.language),
    target=lambda config: learn_labels,  # noqa: ARG005
    toy=(
        Record(text="The parcel came a day early, lovely!", label="praise"),
        Record(text="Still waiting, nobody answers my mails.", label="complaint"),
        Record(text="Great sound and so easy to set up.", label="praise"),
        Record(text="It broke after a week; I want my money back.", label="complaint"),
        Record(text="客服很耐心，非常满意", label="praise"),
        Record(text="包装破损，太失望了", label="complaint"),
    ),
    example="questions.csv -o intents",
)
