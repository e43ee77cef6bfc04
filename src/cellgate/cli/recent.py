"""Flags of `score` and `evaluate` for judging a language model that uses the text it has just read."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from cellgate.errors import UsageError, counted
from cellgate.language import Adapting
from cellgate.neural_cache import NeuralCache

_USUAL = NeuralCache()


@dataclass(frozen=True)
class Cache:
    """A neural cache."""

    cache: Annotated[
        int | None,
        Parameter(
            metavar="TOKENS",
            help="Of a model that writes: judge it also with a cache of so many tokens read last, of which those that "
            f"followed a like place are likelier ({_USUAL.tokens} are usual).",
            show_default="none",
        ),
    ] = None
    cache_strength: Annotated[
        float | None,
        Parameter(help="How much more places count that are more alike.", show_default=f"{_USUAL.strength:g}"),
    ] = None
    cache_share: Annotated[
        float | None,
        Parameter(metavar="SHARE", help="The cache's part of a probability.", show_default=f"{_USUAL.share:g}"),
    ] = None

    @property
    def wanted(self) -> NeuralCache | None:
        """The cache, if one is asked for."""
        given = {"strength": self.cache_strength, "share": self.cache_share}
        settings = {name: value for name, value in given.items() if value is not None}
        if self.cache is not None:
            return NeuralCache(self.cache, **settings)
        if settings:
            raise UsageError(
                f"--cache-{next(iter(settings))} is a setting of a cache; give its size too: --cache TOKENS"
            )
        return None


@dataclass(frozen=True)
class Adapt:
    """Dynamic evaluation."""

    adapt: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Of a model that writes: judge it also while it learns from what it has read (dynamic evaluation; "
            "needs the extra train).",
        ),
    ] = False
    adapt_rate: Annotated[
        float | None,
        Parameter(metavar="RATE", help="How fast it learns then.", show_default=f"{Adapting().rate:g}"),
    ] = None

    @property
    def wanted(self) -> Adapting | None:
        """How to learn, if that is asked for."""
        if self.adapt_rate is not None:
            return Adapting(self.adapt_rate)
        return Adapting() if self.adapt else None


def in_words(cache: NeuralCache) -> str:
    """A cache, as figures with it are headed."""
    return f"With a cache of {counted(cache.tokens, 'token')} (strength {cache.strength:g}, share {cache.share:g})"
