"""The ``dmseg`` command: a group whose commands load on use, so that ``dmseg --help`` stays fast.

One thin module per command, ``dmseg/cli/<command>.py`` with a click command named ``command``; the work is done in the
layers below. Errors a user can cause arrive as :class:`~dmseg.errors.DmsegError` and are printed as one message.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem

from dmseg.cli.leaving import (
    CRASHED,
    INTERRUPTED,
    TERMINATED,
    Terminated,
    describe_crash,
    drop_stream,
    explain_name,
    explain_os_error,
    is_name,
    open_missing_streams,
    say,
    say_error,
)
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
    "publish": "Write a benchmark or a run as a folder to publish: Parquet, Croissant, card.",
    "degrade": "Degrade one image file, or a folder of them.",
    "preview": "Draw a contact sheet: image x level.",
    "models": "List the models that can be evaluated.",
    "weights": "Official weights: what is installed, what is missing, how to get it.",
    "presets": "List the prompt presets.",
    "selfcheck": "Check a model before it is run for hours.",
    "evaluate": "Run a model under the click protocol and score every step.",
    "export-model": "Write a network as ONNX or OpenVINO files, for other programs and for evaluate.",
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
    "completion": "Print the script by which a shell completes commands and names.",
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing any command."""
        named = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return named or click.Command.shell_complete(self, ctx, incomplete)

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
    """Run the command line and leave with its exit code; never shows a traceback for what a user can cause.

    Exit codes: 0 done; 1 done, with errors that are recorded in the output, or a check that failed; 2 wrong usage or
    unusable data; 70 a fault of dmseg or its environment; 130 and 143 interrupted (Ctrl-C, SIGTERM).
    """
    open_missing_streams()
    with contextlib.suppress(ValueError):  # only the main thread may; elsewhere the default is fine
        signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        status = group.main(args=arguments, prog_name="dmseg", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        say("stopped; what was finished is kept, the same command goes on from there")
        return INTERRUPTED
    except Terminated:
        say("ended by SIGTERM; what was finished is kept, the same command goes on from there")
        return TERMINATED
    except click.ClickException as error:
        say_error(error)
        return int(error.exit_code)
    except DmsegError as error:
        say(f"error: {error}")
        return error.exit_code
    except SystemExit as leaving:
        if "PacifyFlush" not in type(sys.stdout).__name__:  # what click puts there when the reader went away
            raise
        say("error: the output was closed before everything was written")
        return DmsegError.exit_code if leaving.code else 0
    except BrokenPipeError:
        drop_stream("stdout")
        say("error: the output was closed before everything was written")
        return DmsegError.exit_code
    except OSError as error:
        say(f"error: {explain_os_error(error)}")
        return DmsegError.exit_code
    except UnicodeEncodeError as error:
        say(f"error: {explain_name(error)}" if is_name(error) else describe_crash(error))
        return DmsegError.exit_code if is_name(error) else CRASHED
    except MemoryError:
        say("error: not enough memory; use fewer --jobs, or a machine with more")
        return CRASHED
    except Exception as error:
        say(describe_crash(error))
        return CRASHED


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
