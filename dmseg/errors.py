"""The errors a caller can do something about, and the wording of "did you mean".

Every message says what was given, where, what is allowed and what to do. The command line prints the message
alone (no traceback) and leaves with the error's exit code; see "Exit codes" in ``docs/cli.md``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DmsegError(Exception):
    """Base of all errors that a user can cause. ``exit_code`` is what the command line leaves with."""

    exit_code = 2


class UsageError(DmsegError):
    """A wrong name, option or argument; nothing was changed."""


class DataError(DmsegError):
    """A file or folder that cannot be used as what it was given for."""


class MachineError(DataError):
    """The machine failed, not the data or the model: no room, a folder that went away, a worker or device that is lost.

    The job stops; what it was doing is recorded nowhere, what is done is kept, and the same command goes on.
    """


class ImageFileError(DataError):
    """One image, mask or volume that cannot be read; callers that work on many record it and go on."""


class ModelError(DmsegError):
    """A model that cannot be loaded, or that answers with something unusable."""


class MissingDependencyError(DmsegError):
    """A feature whose optional packages are not installed; the message names the extra."""


def suggestion(given: str, allowed: Iterable[str], most: int = 1) -> str:
    """Return ``' (did you mean "x"?)'`` for the nearest allowed names, at most so many, or an empty string."""
    lowered = {name.lower(): name for name in allowed}
    near = difflib.get_close_matches(given.lower(), list(lowered), n=most, cutoff=0.5)
    quoted = " or ".join(f'"{lowered[name]}"' for name in near)
    return f" (did you mean {quoted}?)" if near else ""


def unknown_name(kind: str, given: str, allowed: Iterable[str], most: int = 1) -> UsageError:
    """Build the error for a name that is none of ``allowed``; it suggests at most so many of them.

    >>> print(unknown_name("level", "claer", ["clear", "lq1", "lq2"]))
    unknown level "claer" (did you mean "clear"?); one of: clear, lq1, lq2
    """
    names = list(allowed)
    return UsageError(f'unknown {kind} "{given}"{suggestion(given, names, most)}; one of: {", ".join(names)}')
