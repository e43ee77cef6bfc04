"""The roof: one verb a module, loaded when it is called. Only this package prints.

Results go to stdout; progress, notes and errors go to stderr. What a verb needs is imported with its module, so
that `cellgate --help` stays quick and answering never meets torch.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from cellgate.cli.words import STANDARD_INPUT
from cellgate.errors import CellgateError, listed, nearest
from cellgate.version import __version__

APP = App(
    name="cellgate",
    help="Train, explain and ship LSTM models for text, on the machine you have.",
    help_epilogue="Begin with: cellgate train classify FILE.csv -o FOLDER",
    help_format="plaintext",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
_VERBS = {
    "check-data": "Look for what spoils a model in your files, before training.",
    "train": "Train a model on your files; the folder it makes answers anywhere.",
    "evaluate": "Compare a model's answers with files whose answers are known.",
    "predict": "Answer texts, files or standard input, one line each.",
    "stream": "Answer a text while it comes, in constant memory.",
    "write": "Let a model write on behind a text.",
    "score": "Say how probable texts are to a model that writes, and what in them surprises it.",
    "inspect": "Say what a model is: its data, settings, metrics and files.",
    "doctor": "Say what works on this machine, and why the rest does not.",
    "bench": "Measure quality and speed, beside other libraries and the targets.",
}
for _place, (_verb, _about) in enumerate(_VERBS.items()):
    APP.command(f"cellgate.cli.{_verb.replace('-', '_')}:APP", name=_verb, help=_about, sort_key=_place)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):  # the same bytes whatever the locale, or the code page of Windows
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command; returns its exit code: 0 done, 1 the work failed, 2 the command or its input is wrong."""
    try:
        code = APP(_without_hyphens(words), print_error=False, exit_on_error=False, verbose=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(_usage(error, words), 2)
    except CellgateError as error:
        return _complain(str(error), error.exit_code)
    except BrokenPipeError:  # whoever reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(_system(error), 1)
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


def _without_hyphens(words: Sequence[str]) -> list[str]:
    """Name standard input by a word: a lone `-` would be taken for an option."""
    end = words.index("--") if "--" in words else len(words)
    return [STANDARD_INPUT if word == "-" else word for word in words[:end]] + list(words[end:])


def _complain(message: str, code: int) -> int:
    print(f"cellgate: {' '.join(message.split())}", file=sys.stderr)
    return code


def _usage(error: CycloptsError, words: Sequence[str]) -> str:
    """Say in our own words what is wrong with a command."""
    verb = " ".join(error.command_chain or ())
    see = f"see `{' '.join(('cellgate', verb)).strip()} --help`"
    match error:
        case UnknownOptionError():
            wrong = (error.token.keyword or error.token.value).split("=", 1)[0]
            known = [name for argument in error.argument_collection for name in argument.names]
            return f"no option {wrong!r}{nearest(wrong, known) or f'; {see}'}"
        case UnknownCommandError():
            wrong = (error.unused_tokens or words)[0]
            known = [name for name in (error.app or APP) if not name.startswith("-")]
            kind = "task" if verb else "verb"
            return f"no {kind} {wrong!r}{nearest(wrong, known) or f'; {kind}s: {listed(known)}'}"
        case MissingArgumentError() if error.argument is not None:
            name = error.keyword or error.argument.name
            return f"{name} is missing; {see}" if name.isupper() else f"{name} needs a value; {see}"
        case UnusedCliTokensError():
            return f"nothing more was expected after {verb!r}, got {listed(error.unused_tokens or ())}; {see}"
    return f"{str(error).rstrip('.')}; {see}"


def _system(error: OSError) -> str:
    """Say what the system refused."""
    where = f"{error.filename}: " if error.filename else ""
    remedies = {
        errno.ENOSPC: "make room on the disk and try again",
        errno.EACCES: "change its permissions, or name another place",
        errno.EROFS: "name another place",
    }
    remedy = remedies.get(error.errno or 0)
    return f"{where}{(error.strerror or str(error)).lower()}" + (f"; {remedy}" if remedy else "")
