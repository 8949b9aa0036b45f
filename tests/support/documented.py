"""The commands that pages and help texts show, as words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from dmseg.cli import group

_BEGIN = re.compile(r"^(?:.*&& |\s*)dmseg (.*)$", re.MULTILINE)
_END = re.compile(r"\s[#|>]|;| && |  +(?![- ])")  # a comment, the next command, or words set apart beside the command


def list_commands(text: str) -> Iterator[list[str]]:
    """Yield the words after ``dmseg`` of every line that is a command."""
    for line in _BEGIN.findall(text):
        words = _END.split(f"{line} ", maxsplit=1)[0]
        yield [word for word in shlex.split(words.replace("'", "")) if word not in ("...", "…")]


def list_examples(name: str) -> list[list[str]]:
    """Return the examples of a command's help text, and of its own commands, in their order."""
    command = group.get_command(click.Context(group), name)
    assert command is not None
    several = [command, *command.commands.values()] if isinstance(command, click.Group) else [command]
    texts = [text for one in several for text in (one.help or "", one.epilog or "")]
    return [words for text in texts for words in list_commands(text.replace("Example: ", ""))]
