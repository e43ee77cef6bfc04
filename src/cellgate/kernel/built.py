"""Whether the extension module was built, and for which vector widths."""

missing: str | None = None
"""Why the kernel cannot serve, in a sentence; None where it can."""

try:
    import cellgate.kernel._native as _native  # `from cellgate.kernel import` raises ImportError where no file is
except ModuleNotFoundError:
    missing = (
        "it was not built when Cellgate was installed; install a C++ compiler (g++ or clang++), then Cellgate again"
    )
except ImportError as error:  # built for another machine, or a library of it is gone
    missing = f"it was built but cannot be loaded: {error}"


def widths() -> list[str]:
    """Names of the vector widths this processor can use, the one that is used first; empty where it is missing."""
    return [] if missing is not None else _native.widths()


def rounding_widths() -> list[str]:
    """Likewise of those whose products round their factors to bfloat16."""
    return [] if missing is not None else _native.rounding_widths()
