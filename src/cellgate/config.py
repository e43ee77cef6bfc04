"""Typed settings. Every default of the project is written here or in a task's own `Config`, once.

Sizes that follow from the data (vocabulary, labels, n-grams kept) are arguments of what needs them, never settings.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cellgate.errors import UsageError, nearest

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Options(BaseModel):
    """A frozen group of settings; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: dict[str, Any], origin: str) -> Self:
        """Validate `values`; `origin` (a file name, say) stands in the message of a UsageError."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError(_sentence(cls, error, origin)) from None

    def to_yaml(self) -> str:
        """All settings as YAML that `parse(yaml.safe_load(...))` reads back to an equal value."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _sentence(cls: type[Options], error: ValidationError, origin: str) -> str:
    """Say the first problem of a validation error: setting, value, remedy."""
    known = setting_names(cls)
    errors = error.errors(include_url=False)
    first = errors[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        group = name.rpartition(".")[0]
        siblings = [k for k in known if k.rpartition(".")[0] == group]
        hint = nearest(name, [k for k in known if k != group])
        return f"no setting {name!r} in {origin}{hint or '; settings here: ' + ', '.join(siblings)}"
    # Of a setting that may be one of several things each says why it is not this one, under a name of its own.
    while name and name not in known:
        name = name.rpartition(".")[0]
    depth = name.count(".") + 1 if name else 0
    same = [e["msg"] for e in errors if e["loc"][:depth] == first["loc"][:depth]]
    reasons = ", or ".join(reason[:1].lower() + reason[1:] for reason in dict.fromkeys(same))
    return f"{f'setting {name!r} in ' if name else ''}{origin}: {reasons}, got {first['input']!r}"


def setting_names(cls: type[BaseModel], prefix: str = "") -> list[str]:
    """List the dotted names of all settings under a class, in order of definition."""
    names: list[str] = []
    for name, field in cls.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names.append(prefix + name)
            names += setting_names(inner, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


class TextConfig(Options):
    """How a text becomes tokens."""

    unit: Literal["auto", "word", "subword", "character"] = "auto"
    """What one token is; auto: characters where most letters are Han, else words."""
    lowercase: bool = True
    """Fold case before anything else."""
    nfkc: bool = True
    """Unify compatibility forms (full-width letters, ligatures) by Unicode NFKC."""
    min_count: Count = 2
    """A token must occur this often in training to have a vector of its own."""
    max_vocabulary: Count = 30_000
    """At most this many tokens have vectors of their own, the most frequent ones."""
    vectors: str = ""
    """A file of pretrained vectors (text format of word2vec or GloVe, .gz too); its words fill up the vocabulary."""
    lexicon: str = ""
    """A file of words, for texts of characters: a word a line, then how often it occurs if that is known; .gz too."""
    max_tokens: Count = 1_000
    """A longer text is cut to this many tokens; how many were cut is counted and said."""


class EncoderConfig(Options):
    """The recurrent half: token vectors and the recurrent layers over them."""

    enabled: bool = True
    """Train this half beside the linear one."""
    cell: Literal["lstm", "peephole", "gru", "rnn"] = "lstm"
    """The recurrent cell; peephole: an LSTM whose gates see its memory."""
    layers: Annotated[int, Field(ge=1, le=3)] = 1
    """Recurrent layers, one above the other."""
    directions: Literal[1, 2] = 2
    """2 reads both ways; 1 reads forward only, so that answers can be streamed."""
    embedding: Count = 128
    """Width of a token's vector."""
    hidden: Count = 96
    """Width of a layer's output, per direction."""
    buckets: Count = 16_384
    """Vectors shared by hashed character n-grams (of words) or character pairs (of characters)."""
    spelling: Annotated[int, Field(ge=0)] = 0
    """Width of a recurrent layer over the letters of each word, per direction; 0: none."""
    pairs: Literal["before", "both"] = "before"
    """Of a text of characters: the pairs with the one before, or also with the next."""
    tune_vectors: bool = False
    """Train the pretrained vectors (`text.vectors`) too; else they stay as they are, and a map of them is learned."""
    word_dropout: Fraction = 0.2
    """Share of tokens whose vector is blanked in training."""
    own_dropout: Fraction = 0.0
    """Share of words whose own vector is blanked in training, their n-grams and letters not."""
    embedding_dropout: Fraction = 0.5
    """Share of vector columns dropped through a whole text in training (locked dropout)."""
    layer_dropout: Fraction = 0.3
    """Share of columns dropped between layers, locked likewise."""


class StartConfig(Options):
    """What the recurrent half begins with: random weights, or what a language model has learned."""

    language: str = ""
    """Folder of a language model (`train generate`) whose vectors and layers training begins with; its sizes are then
    the encoder's, `dropout` takes the place of the encoder's, and words that it knows have vectors of their own."""
    dropout: Fraction = 0.1
    """Share of tokens and of vector columns dropped in training: learned vectors bear less of it than random ones."""
    freeze: bool = False
    """Leave what it learned as it is, and train only what stands above."""
    slower: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Learning rate of a layer as a share of that of the layer above (Howard & Ruder 2018)."""
    unfreeze: Fraction = 0.1
    """Share of the steps after which the next layer below is trained too, from the last one down; 0: all from the first
    step."""


class HeadConfig(Options):
    """From the encoder's outputs to one score a label: pooling, then one linear map."""

    dropout: Fraction = 0.5
    """Share of pooled columns dropped in training."""
    label_smoothing: Fraction = 0.1
    """Share of the target spread over all labels (Szegedy et al. 2016)."""


class TaggerConfig(Options):
    """From the encoder's outputs to the tags of tokens."""

    chain: bool = True
    """Learn which tag follows which (a conditional random field); else each token is answered by itself."""
    dropout: Fraction = 0.5
    """Share of the encoder's columns dropped through a whole text in training (locked dropout)."""


class WindowConfig(Options):
    """The linear half of a tagger: features of the tokens around each, and a linear chain over them."""

    enabled: bool = True
    """Train this half beside the recurrent one."""
    min_count: Count = 2
    """A feature must stand so often in the training texts."""
    max_weights: Count = 6_000_000
    """At most this many weights (features kept x tags): bounds the size of the Bundle."""
    dropout: Fraction = 0.2
    """Share of features dropped in training."""


class UnitsConfig(Options):
    """How a running text becomes tokens, and tokens become that text again."""

    unit: Literal["auto", "word", "subword", "character"] = "auto"
    """What one token is; auto: characters of texts in Han script or under 5 million characters, else subwords."""
    lowercase: bool = False
    """Fold case before anything else; then nothing written has capitals."""
    words: Literal["auto", "spaces", "marks"] = "auto"
    """Where words end: at spaces alone, as in texts whose marks stand by themselves, or at marks too; auto: looks."""
    subwords: Literal["bpe", "unigram"] = "bpe"
    """How subwords are learned: by joining pairs (Sennrich et al. 2016), or by what fits best (Kudo 2018)."""
    min_count: Count = 2
    """A word or character must occur this often in training; rarer ones are all one unknown token."""
    max_vocabulary: Count | Literal["auto"] = "auto"
    """At most this many tokens; auto: 8,000 subwords, 50,000 words, all characters."""


class WriterConfig(Options):
    """The net that writes: token vectors, recurrent layers that read forward, and the same vectors as its output.

    Its defaults of what is dropped follow Merity, Keskar & Socher (2017), for texts a hundredth of theirs.
    """

    directions: Literal[1, 2] = 1
    """2: layers of their own also foretell each token from those behind it, which a task that starts from this model
    (`--from`) reads with; writing and scoring read forward only."""
    layers: Annotated[int, Field(ge=1, le=4)] = 2
    """Recurrent layers, one above the other."""
    embedding: Count = 256
    """Width of a token's vector."""
    hidden: Count = 512
    """Width of a layer's output."""
    last: Annotated[int, Field(ge=0)] = 0
    """Width of the last layer's output, which is mapped to a token's vector where it is another; 0: `hidden`."""
    attention: Annotated[int, Field(ge=0, le=4_096)] = 0
    """Tokens of its own past that one attention head looks back at; 0: none. No other task starts from a model that has
    one."""
    softmax: Literal["auto", "full", "sampled"] = "auto"
    """Over all tokens, or in training over a sample of them (Jean et al. 2015); auto: sampled above 20,000 tokens."""
    samples: Count = 4_096
    """Tokens drawn for the sample a step, beside those that stand in it."""
    token_dropout: Fraction = 0.0
    """Share of the tokens whose vector is blanked wherever it stands in a step's text."""
    embedding_dropout: Fraction = 0.1
    """Share of vector columns dropped, of a token the same ones wherever it stands in a step's text."""
    layer_dropout: Fraction = 0.2
    """Share of columns dropped between layers through a step's text (locked dropout)."""
    output_dropout: Fraction = 0.2
    """Share of the last layer's columns dropped, locked likewise."""
    weight_dropout: Fraction = 0.2
    """Share of the recurrent weights dropped, anew each step (weight-drop)."""
    activation_penalty: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the squares of the last layer's dropped outputs in the loss (AR)."""
    change_penalty: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the squares of the last layer's changes from token to token (TAR)."""


class BagConfig(Options):
    """The linear half: a support vector machine on a TF-IDF-weighted bag of word and character n-grams."""

    enabled: bool = True
    """Train this half beside the recurrent one."""
    words: Annotated[int, Field(ge=1, le=4)] | Literal["auto"] = "auto"
    """Longest word n-gram; auto: 2 for short texts, 3 for long texts and for characters."""
    characters: bool | Literal["auto"] = "auto"
    """Also n-grams of 2 to 5 characters inside words; auto: for short texts of words."""
    min_count: Count | Literal["auto"] = "auto"
    """An n-gram must stand in this many training texts; auto: 1 for short texts of words, else 2."""
    max_weights: Count = 6_000_000
    """At most this many weights (n-grams kept x labels): bounds the size of the Bundle."""
    penalty: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """What a wrong answer costs against small weights, the C of a support vector machine; auto: 0.5, or 1 where labels
    are more than 20."""


class AnswerConfig(Options):
    """When an answer is given, and when "I don't know"."""

    abstain_below: Fraction = 0.0
    """Answer only where at least this sure (a probability)."""
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Choose that threshold on dev: this share of the answers given shall be right."""
    out_of_scope: str = ""
    """The label of texts that fit no other; rows of it in dev are enough, and choose its threshold."""

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if self.abstain_below and self.precision is not None:
            raise ValueError("answer.abstain_below and answer.precision choose the same threshold; give one of them")
        return self


class TrainConfig(Options):
    """The course of training."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seeds every random choice; the same seed and thread count give the same bytes."""
    epochs: Count | Literal["auto"] = "auto"
    """Passes over the data; auto follows its size."""
    max_steps: Count | None = None
    """Stop after this many steps whatever `epochs` says."""
    batch_rows: Count = 64
    """Texts a step (fewer where the data are few); of a running text, places in it that are read side by side."""
    batch_tokens: Count = 24_000
    """Padded tokens a step at most; of a running text, the tokens a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.003
    """Peak of AdamW's one-cycle schedule."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's decay."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    patience: Count = 4
    """Stop after this many epochs without a better dev metric."""
    dev_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the rows, or of a running text, held out as dev where no dev file is given; of a text at most some
    200,000 characters."""
    threads: Count | None = None
    """CPU threads; none: all cores this process may use."""
    products: Literal["auto", "float32"] = "auto"
    """Numbers that a step's large products multiply, with float32 sums; auto: bfloat16 where the CPU has instructions
    for it (`cellgate doctor` says so)."""
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Longest stretch of training that a kill can lose, in seconds."""


class AnsweringTrainConfig(TrainConfig):
    """The course of training on rows with answers."""

    imbalance: Literal["auto", "none", "weights", "focal", "sampling"] = "auto"
    """Against labels with few rows: their rows weigh more, well answered rows weigh less (Lin et al. 2017), or all
    labels are drawn alike; auto: weights where one of two labels has under a twentieth of the rows."""
    sure: Fraction = 0.6
    """Of texts without answers (`--self-train`), those are learned from that a first model is at least so sure of."""


class TaskConfig(Options):
    """What every task's settings hold; a task adds its own groups."""

    train: TrainConfig = TrainConfig()

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, values: object) -> object:
        """A group that is given in part keeps the task's defaults for the rest, which may not be the group's own."""
        if not isinstance(values, Mapping):
            return values
        groups = {name: field.default for name, field in cls.model_fields.items()}
        return {
            name: {**group.model_dump(), **value}
            if isinstance(group := groups.get(name), Options) and isinstance(value, Mapping)
            else value
            for name, value in values.items()
        }


class AnsweringConfig(TaskConfig):
    """What the settings of a task hold besides whose answers are right or wrong."""

    train: AnsweringTrainConfig = AnsweringTrainConfig()
    answer: AnswerConfig = AnswerConfig()
