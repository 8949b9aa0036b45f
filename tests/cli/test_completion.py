"""Completion: of commands without importing them, of models, presets, levels and modalities; help that holds true."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from dmseg.cli import COMMANDS, group
from dmseg.cli.leaving import colour_error


def complete(*words: str) -> list[str]:
    *before, last = words
    return [item.value for item in ShellComplete(group, {}, "dmseg", "_DMSEG_COMPLETE").get_completions(before, last)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_dmseg(shell):
    done = CliRunner().invoke(group, ["completion", shell])
    assert done.exit_code == 0 and "_DMSEG_COMPLETE" in done.output and f"{shell}_complete" in done.output


def test_names_are_completed():
    assert complete("sum") == ["summary"]
    assert "mini-pge-sam" in complete("evaluate", "--model", "mini")
    assert complete("evaluate", "--preset", "dms") == ["dmseg"]
    assert complete("evaluate", "--levels", "clear,lq3") == ["clear,lq3", "clear,lq3plus"]
    assert complete("degrade", "--level", "lq3p") == ["lq3plus"]
    assert complete("preview", "--modality", "ultra") == ["ultrasound"]
    assert complete("evaluate", "--keep") == ["--keep-predictions"]


def list_examples() -> list[tuple[str, str]]:
    """Return every line of every command's examples: (command, line)."""
    found = []
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        commands = {name: command}
        if isinstance(command, click.Group):
            commands |= {f"{name} {sub}": one for sub, one in command.commands.items()}
        for path, one in commands.items():
            for line in (one.help or "").splitlines():
                if match := re.match(r"\s*(dmseg .*)", line):
                    found.append((path, match.group(1)))
    return found


@pytest.mark.parametrize(("path", "line"), list_examples())
def test_every_example_of_a_help_text_is_a_command_that_dmseg_takes(path, line, tmp_path, monkeypatch):
    """Parsed with the command's own options, types and checks; what it does is tested where the command is."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(re.split(r"\s{2,}\(|\s[>|]\s|\s{2,}#|\s;\s", line)[0].replace("*", "-all"))[1:]
    command: click.Command | None = group
    context = click.Context(group, info_name="dmseg")
    while isinstance(command, click.Group):
        assert words, line
        command = command.get_command(context, words.pop(0))
        assert command is not None, line
    command.make_context(path, words, parent=context)


def test_every_command_has_an_example():
    shown = {path.split()[0] for path, _ in list_examples()}
    assert set(COMMANDS) - shown <= {"completion"}


def test_colour_is_for_terminals_alone_and_no_color_is_respected(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colour_error("error: no") != "error: no" and colour_error("note: no") == "note: no"
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour_error("error: no") == "error: no"
