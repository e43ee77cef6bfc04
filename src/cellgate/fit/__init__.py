"""Training as a generator of events; stopped and resumed, it ends in the same bytes as uninterrupted."""

from cellgate.fit.loop import Data, fit

__all__ = ["Data", "fit"]
