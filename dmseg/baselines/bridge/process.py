"""The process on the other side of a bridge: started, asked with a time limit, ended; frames go through its pipes."""

from __future__ import annotations

import collections
import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dmseg.baselines.bridge import dmseg_bridge as frames
from dmseg.errors import ModelError

KEPT_LINES = 40
"""Last lines of the other side's standard error that messages may quote."""
ENDING_S = 3.0
"""Seconds that a process has to leave by itself before it is killed."""
_PIPE_BYTES = 1 << 20
_HAS_POLL = hasattr(select, "poll")


class ProcessDiedError(ModelError):
    """The other side ended, or stopped speaking the protocol."""


class ModelProcess:
    """One running process.

    Args:
        command: what is started.
        environment: its whole environment.
        folder: its working folder.
        log: file that its standard error is added to, or None.

    Raises:
        ModelError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path | None) -> None:
        self._command = list(command)
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                env=dict(environment), cwd=folder, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ModelError(
                f"{self._command[0]}: cannot be started ({error.strerror}); give a program there"
            ) from None
        self._lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self._log = log
        self._reader = threading.Thread(target=self._follow_errors, daemon=True)
        self._reader.start()
        for stream in (self._input, self._output):
            if _HAS_POLL:
                os.set_blocking(stream.fileno(), False)
            _enlarge_pipe(stream)

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def log_to(self, log: Path) -> None:
        """Add what the other side says from now on, and its last lines so far, to a file."""
        said = list(self._lines)
        self._log = log
        for line in said:
            self._write_line(line)

    def quote(self) -> str:
        """Return the last line that the other side said on standard error, for a message."""
        self._reader.join(0.2 if self._process.poll() is not None else 0)
        return next((line.strip() for line in reversed(self._lines) if line.strip()), "it said nothing")

    def exchange(
        self, header: Mapping[str, Any], arrays: Sequence[NDArray[Any]], limit: float | None
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Send one message and return the answer.

        Args:
            limit: seconds that the whole exchange may take, or None.

        Raises:
            TimeoutError: no whole answer within the limit.
            ProcessDiedError: the process ended, or what it writes are no frames.
        """
        deadline = None if limit is None else time.monotonic() + limit
        try:
            self._send(memoryview(frames.pack_header(header, arrays)), deadline)
            for array in arrays:
                self._send(frames.view_bytes(array), deadline)
            return self._receive(deadline)
        except (BrokenPipeError, ConnectionError, EOFError):
            raise ProcessDiedError(f"the model's process ended{self._how()}: {self.quote()}") from None
        except frames.ProtocolError as error:
            raise ProcessDiedError(f"the model's process wrote something else than answers: {error}") from None

    def _how(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(0.5)
            return f" with exit status {code}" if code >= 0 else f" by signal {-code}"
        return ""

    def _send(self, memory: memoryview, deadline: float | None) -> None:
        done, number = 0, self._input.fileno()
        while done < len(memory):
            _wait(number, "out", deadline)
            with contextlib.suppress(BlockingIOError):
                done += os.write(number, memory[done : done + _PIPE_BYTES])

    def _receive(self, deadline: float | None) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        preamble = self._read(np.empty(8, np.uint8), deadline).tobytes()
        text = self._read(np.empty(frames.check_preamble(preamble), np.uint8), deadline)
        header, arrays = frames.parse_header(text.tobytes())
        for array in arrays:
            self._read(array, deadline)
        return header, arrays

    def _read(self, target: NDArray[Any], deadline: float | None) -> NDArray[Any]:
        memory, done, number = frames.view_bytes(target), 0, self._output.fileno()
        while done < len(memory):
            _wait(number, "in", deadline)
            try:
                got = os.readv(number, [memory[done:]]) if hasattr(os, "readv") else self._read_some(memory[done:])
            except BlockingIOError:
                continue
            if not got:
                raise EOFError
            done += got
        return target

    def _read_some(self, memory: memoryview) -> int:
        data = os.read(self._output.fileno(), min(len(memory), _PIPE_BYTES))
        memory[: len(data)] = data
        return len(data)

    def _follow_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in iter(stream.readline, b""):
                text = line.decode("utf-8", "replace").rstrip("\n")
                self._lines.append(text)
                self._write_line(text)

    def _write_line(self, line: str) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as log:  # the run goes on
                log.write(line + "\n")

    def end(self, politely: bool = True) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(OSError):
            self._input.close()
        if politely:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING_S)
        _kill_group(self._process)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._output.close()
        self._reader.join(1.0)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
    elif process.poll() is None:
        process.kill()


def _wait(number: int, way: str, deadline: float | None) -> None:
    """Wait until a pipe can be read or written; without ``poll`` (Windows), calls block and no limit holds."""
    if not _HAS_POLL:
        return
    poll = select.poll()
    poll.register(number, select.POLLIN if way == "in" else select.POLLOUT)
    left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    if not poll.poll(left):
        raise TimeoutError


def _enlarge_pipe(stream: IO[bytes]) -> None:
    """Make a pipe hold an image or so (Linux): fewer turns per frame."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
