"""The command line in processes of their own, forked from one that has imported all of it: many can begin at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [f"dmseg.{name}" for name in ("build", "harness", "phantoms", "cli.build", "cli.evaluate")]
)


class Command:
    """``dmseg ARGUMENTS``, begun; its processes are a group of their own.

    Args:
        arguments: of the command line.
        variables: added to the environment.
    """

    def __init__(self, *arguments: object, **variables: object) -> None:
        descriptor, name = tempfile.mkstemp(prefix="command-")
        os.close(descriptor)
        self._stderr = Path(name)
        environment = os.environ | {key: str(value) for key, value in variables.items()}
        self._process = _FORKS.Process(target=_run, args=(list(map(str, arguments)), environment, name))
        self._process.start()

    def wait(self) -> tuple[int, str]:
        """Wait for its end, and return exit code and what was said on stderr."""
        self._process.join()
        said = self._stderr.read_text()
        self._stderr.unlink()
        return self._process.exitcode, said

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def kill(self, *, group: bool = True) -> bool:
        """Send SIGKILL to the process, and to all of its group; return whether it was still running."""
        self._process.kill()
        if group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self.wait()[0] == -signal.SIGKILL


def run_at_once(*commands: tuple[object, ...]) -> tuple[list[int], list[str]]:
    """Start commands at the same moment; return exit code and message of each."""
    begun = [Command(*arguments) for arguments in commands]
    codes, said = zip(*(command.wait() for command in begun), strict=True)
    return list(codes), list(said)


def _run(arguments: list[str], environment: dict[str, str], stderr: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(os.open(stderr, os.O_WRONLY), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    from dmseg.cli import main

    main(arguments)
