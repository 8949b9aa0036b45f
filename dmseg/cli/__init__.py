"""The ``dmseg`` command: a group whose commands load on use, so that ``dmseg --help`` stays fast.

One thin module per command, ``dmseg/cli/<command>.py`` with a click command named ``command``; the work is done in the
layers below. Errors a user can cause arrive as :class:`~dmseg.errors.DmsegError` and are printed as one message.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from dmseg.errors import DmsegError, suggestion
from dmseg.version import __version__

COMMANDS: dict[str, str] = {
    "demo": "Build the embedded phantom edition, evaluate the shipped models, write the report.",
    "datasets": "What is expected where, licence, link, and what was found.",
    "init-recipe": "Guess a recipe for your own folder of images and masks.",
    "phantom": "Write synthetic raw data in the original layouts.",
    "build": "Turn raw downloads into one versioned benchmark.",
    "merge": "Finish a benchmark that was built in shards.",
    "verify": "Check a built benchmark against its manifest.",
    "info": "Tables and object sizes of a benchmark.",
    "splits": "Images per dataset and split, beside the paper's.",
    "manifest": "Export a benchmark's manifest, or compare two.",
    "export": "Write a benchmark as COCO JSON.",
    "degrade": "Degrade one image file, or a folder of them.",
    "preview": "Draw a contact sheet: image x level.",
    "models": "List the models that can be evaluated.",
    "weights": "Official weights: what is installed, what is missing, how to get it.",
    "presets": "List the prompt presets.",
    "selfcheck": "Check a model before it is run for hours.",
    "evaluate": "Run a model under the click protocol and score every step.",
    "train": "Train a network, or a part of one, on a built benchmark.",
    "click": "Click it yourself: a page on this machine; clicks can be kept and replayed.",
    "explain": "Draw what a network makes of one object: guidance, features, masks, step by step.",
    "score": "Score anyone's masks against reference masks.",
    "summary": "Tables of a run with intervals: Markdown, LaTeX, CSV.",
    "table": "Several runs in one table: models x levels x metrics, for a paper or a page.",
    "compare": "Two runs, paired: differences by level, dataset, modality, structure, size.",
    "report": "Write one HTML page about a run.",
    "digest": "Print the digest that names a run's results.",
    "submit": "Check a run as a submission to the leaderboard, and pack it.",
    "leaderboard": "Add runs to the leaderboard and show it.",
    "cite": "Print BibTeX and licences of a benchmark's sources.",
    "doctor": "Print what is installed and what was found, to paste into an issue.",
}


MODULES = {"click": "click_page"}
"""Modules that are not named as their command: a module ``click`` here would stand in the place of the library."""


class LazyGroup(click.Group):
    """A click group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dmseg.cli.{MODULES.get(cmd_name, cmd_name.replace('-', '_'))}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f'no command "{args[0]}"{suggestion(args[0], COMMANDS)}; see dmseg --help')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="dmseg")
def group() -> None:
    """Interactive segmentation of degraded medical images: build the benchmark, evaluate, report.

    \b
    First steps, no data needed:
      dmseg demo
      dmseg evaluate --model watershed --out runs/watershed
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; never shows a traceback for what a user can cause."""
    try:
        status = group.main(args=arguments, prog_name="dmseg", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped; what was finished is kept, the same command goes on from there", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DmsegError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # No space, no permission, a folder that went away: what the system says about which file is the message.
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {place}{error.strerror or error}", err=True)
        sys.exit(DmsegError.exit_code)
    sys.exit(status if isinstance(status, int) else 0)
