"""Every ``dmseg`` command in the pages and in the help texts exists, with every option that is written there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from documented import list_commands, list_examples

from dmseg.cli import COMMANDS, group

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)


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
    examples = list_examples(name)
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
