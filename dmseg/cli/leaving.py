"""How the command ends when something goes wrong: one line on stderr, whatever has become of stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import click

CRASHED = 70
"""A fault of dmseg or of what is installed (EX_SOFTWARE of sysexits.h), not of usage or data."""
INTERRUPTED = 130
TERMINATED = 143
_SHOW = "DMSEG_TRACEBACK"


class Terminated(BaseException):
    """SIGTERM arrived: everything is left in order, as after Ctrl-C."""


def open_missing_streams() -> None:
    """Give the process a stdout and stderr where it was started without, and let both show any name.

    A file name that is no UTF-8 must not end a command by being printed.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # for good
        elif hasattr(stream, "reconfigure"):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")


def drop_stream(name: str) -> None:
    """Point a closed stream at nothing, so that leaving does not fail at flushing it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, getattr(sys, name).fileno())
        os.close(null)


def say(text: str) -> None:
    """Print a line on stderr; where that is closed or full, nothing can be said."""
    try:
        plain = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character that is no byte of a file name
        plain = text.encode("utf-8", "backslashreplace").decode()
    try:
        click.echo(colour_error(plain), err=True)
    except (OSError, ValueError):
        drop_stream("stderr")


def colour_error(text: str) -> str:
    """Return a message with its "error:" in red, where stderr is a terminal and NO_COLOR is not set."""
    prefix = "error:"
    if not text.startswith(prefix) or os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    return click.style(prefix, fg="red", bold=True) + text.removeprefix(prefix)


def say_error(error: click.ClickException) -> None:
    """Print what click says about wrong usage."""
    try:
        error.show()
    except (OSError, ValueError):
        drop_stream("stderr")


def explain_os_error(error: OSError) -> str:
    """Return what the system says about which file; of a full disk also how much is free there."""
    place = os.fsencode(error.filename).decode("utf-8", "backslashreplace") if error.filename is not None else ""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        folder = Path(place) if place else Path.cwd()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(folder).free
            reason += f" ({free / 1e6:.0f} MB free at {folder}); make room and run the same command again, it goes on"
    return f"{place}: {reason}" if place else reason


def is_name(error: UnicodeEncodeError) -> bool:
    """Tell whether what cannot be encoded is a file name whose bytes are no UTF-8, as the system hands it over."""
    return any("\udc80" <= character <= "\udcff" for character in error.object[error.start : error.end])


def explain_name(error: UnicodeEncodeError) -> str:
    """Return a line about a file name that is no UTF-8, with its place in the text that has it."""
    text = error.object[max(0, error.start - 60) : error.end + 60]
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"a file name that is no UTF-8, in {shown!r}; rename it"


def describe_crash(error: BaseException) -> str:
    """Return one line about a fault of dmseg, and keep the traceback in a file (or print it, DMSEG_TRACEBACK=1)."""
    text = "".join(traceback.format_exception(error))
    summary = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"[:300]
    if os.environ.get(_SHOW):
        return f"{text}\nfault of dmseg: {summary}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="dmseg-fault-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as stream:
            stream.write(text)
        where = f"details in {stream.name}"
    except OSError:
        where = f"{_SHOW}=1 shows the details"
    return f"fault of dmseg: {summary}; please report it with `dmseg doctor` and the details ({where})"
