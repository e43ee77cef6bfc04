"""A training that begins with a language model: what it takes of it, and what it says of that."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellgate.bundle import open_bundle
from cellgate.codecs import TextCodec, read_known
from cellgate.config import StartConfig, TaskConfig, WriterConfig
from cellgate.errors import UsageError, counted
from cellgate.task import find
from cellgate.text.tokens import han_share

if TYPE_CHECKING:
    from cellgate.nets import Net

_MOST_LAYERS = 3  # of an encoder
_MOSTLY = 0.5  # share of Han letters from which texts are read by characters
_SIZES = {"layers": 1, "embedding": 256, "hidden": 320, "samples": 2_048}


def language_of(config: TaskConfig) -> str:
    """The folder of the language model that a training starts from, or ""."""
    return _beginning(config).language


def _beginning(config: TaskConfig) -> StartConfig:
    start = getattr(config, "start", None)
    return start if isinstance(start, StartConfig) else StartConfig()


def _writer_of(language: str) -> WriterConfig:
    """The sizes of the language model in a folder."""
    settings: Any = open_bundle(language).settings
    writer: WriterConfig = settings.writer
    return writer


def started(config: TaskConfig) -> TaskConfig:
    """The settings with the sizes of the language model they start from; UsageError where it does not fit."""
    language = language_of(config)
    if not language:
        if _beginning(config).freeze:
            raise UsageError("start.freeze keeps what a language model has learned; name one with --from")
        return config
    known, writer = read_known(language), _writer_of(language)
    if writer.attention:
        raise UsageError(
            f"--from {language}: it has an attention head over {writer.attention} tokens, and an encoder has none: "
            "train the language model with --writer.attention 0"
        )
    if writer.last not in (0, writer.hidden) or writer.layers > _MOST_LAYERS:
        raise UsageError(
            f"--from {language}: it has {writer.layers} layers, the last one {writer.last or writer.hidden} wide; "
            f"an encoder has at most {_MOST_LAYERS}, of one width: train the language model with --writer.last 0"
        )
    values: dict[str, Any] = config.model_dump()
    encoder = values["encoder"]
    encoder |= {**_taken(config, writer), "directions": min(writer.directions, encoder["directions"])}
    if values["text"]["unit"] == "auto":
        values["text"]["unit"] = known.unit
    return type(config).parse(values, "the settings")


def narrowed(asked: TaskConfig, config: TaskConfig) -> str:
    """Say where the encoder reads one way only because its language model does; else ""."""
    wanted: Any = asked
    got: Any = config
    if not language_of(config) or got.encoder.directions == wanted.encoder.directions:
        return ""
    return (
        f"{language_of(config)} reads forward only, and so does this net; `train generate --writer.directions 2` makes "
        "one for both"
    )


def _taken(config: TaskConfig, writer: WriterConfig) -> dict[str, Any]:
    """What an encoder takes of a language model; UsageError where the settings ask for something else."""
    settings: Any = config
    usual: Any = type(config)()
    taken = {"enabled": True, "cell": "lstm", "layers": writer.layers, "hidden": writer.hidden}
    taken |= {"embedding": writer.embedding}
    taken |= dict.fromkeys(("word_dropout", "embedding_dropout"), settings.start.dropout)
    for name, value in taken.items():
        asked = getattr(settings.encoder, name)
        if asked not in (value, getattr(usual.encoder, name)):
            remedy = "give start.dropout instead" if name.endswith("dropout") else "leave it out"
            raise UsageError(
                f"encoder.{name} is {str(asked).lower()}, and an encoder that begins with this language model has "
                f"{str(value).lower()}: {remedy}"
            )
    return taken


def language_settings(config: TaskConfig, texts: Iterable[str]) -> TaskConfig:
    """Settings of a language model that a training with these settings can start from.

    `texts` are some of those it is to read. It has one layer for each direction that the encoder reads in.
    """
    settings: Any = config
    unit = settings.text.unit
    if unit == "subword":
        raise UsageError("text.unit is subword, and a language model has subwords of its own: choose word or character")
    if unit == "auto":
        unit = "character" if han_share(texts) > _MOSTLY else "word"
    writer = WriterConfig.parse({"directions": settings.encoder.directions, **_SIZES}, "its sizes")
    _taken(config, writer)  # refused now, not when it is trained
    text = {"unit": unit, "words": "marks", "lowercase": settings.text.lowercase, "min_count": settings.text.min_count}
    values = {
        "text": text,
        "writer": writer.model_dump(),
        "train": {"seed": config.train.seed, "threads": config.train.threads, "products": config.train.products},
    }
    return find("generate").config.parse(values, "the settings of the language model")


def start(net: "Net", source: TextCodec, language: str) -> str:
    """Give the net what a language model has learned; returns what was taken, in words."""
    from safetensors.torch import load_file

    from cellgate.nets.start import start_from  # torch comes only where a net is trained

    known, writer = read_known(language), _writer_of(language)
    numbers = source.numbers_of(known)
    start_from(net, load_file(Path(language) / "weights.safetensors"), numbers)
    layers = f"{counted(writer.layers, 'layer')} of {writer.hidden} units"
    return (
        f"begins with {language}: its {layers}, and its vectors; {source.unit}s that it does not know begin as its "
        "unknown one"
    )
