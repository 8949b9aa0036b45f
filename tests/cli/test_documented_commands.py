"""Every ``dmseg`` command in the pages and in the help texts exists, with every option that is written there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dmseg.cli import COMMANDS, group

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_BEGIN = re.compile(r"^(?:.*&& |\s*)dmseg (.*)$", re.MULTILINE)
_END = re.compile(r"\s[#|>]|;| && |  +(?![- ])")  # a comment, the next command, or words set apart beside the command


def list_commands(text: str) -> Iterator[list[str]]:
    """Yield the words after ``dmseg`` of every line that is a command."""
    for line in _BEGIN.findall(text):
        words = _END.split(f"{line} ", maxsplit=1)[0]
        yield [word for word in shlex.split(words.replace("'", "")) if word not in ("...", "…")]


def find_unknown(words: list[str]) -> str | None:
    """Return what of a command line dmseg does not have."""
    command: click.Command = group
    context = click.Context(group)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        if name.isupper():  # a placeholder such as COMMAND
            return None
        found = command.get_command(context, name.split("|")[0])
        if found is None:
            return name
        command = found
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = sorted(given - known - {"-h", "--help"})
    return ", ".join(unknown) or None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page(page: Path) -> None:
    code = "\n".join(part.strip("`") for part in _CODE.findall(page.read_text(encoding="utf-8")))
    wrong = [(words, unknown) for words in list_commands(code) if (unknown := find_unknown(words))]
    assert wrong == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_a_help_text(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    several = command.commands.values() if isinstance(command, click.Group) else [command]
    texts = [text for one in several for text in (one.help or "", one.epilog or "")]
    examples = [words for text in texts for words in list_commands(text.replace("Example: ", ""))]
    assert examples, "give an example"
    assert [(words, unknown) for words in examples if (unknown := find_unknown(words))] == []


def test_a_wrong_command_is_found() -> None:
    assert find_unknown(["evalute", "--model", "x"]) == "evalute"
    assert find_unknown(["evaluate", "--modle", "x"]) == "--modle"
    assert find_unknown(["leaderboard", "show", "--level", "lq3plus"]) is None
    assert list(list_commands("dmseg table runs/*   --drop -o t.tex      # all\nx && dmseg digest RUN > a; rm b")) == [
        ["table", "runs/*", "--drop", "-o", "t.tex"],
        ["digest", "RUN"],
    ]
