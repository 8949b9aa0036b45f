"""Time limits that hold: an alarm inside a process, and a watched process that is ended when an alarm is not enough.

The alarm stops Python code and costs nothing else. Code that never returns to Python (a deadlock in a library, a kernel
that hangs) does not hear it: then the process is killed, the call is remembered as one that ends badly, and a new
process does the same unit again without making it. A crash is treated alike.
"""

from __future__ import annotations

import contextlib
import multiprocessing.process
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from dmseg.errors import DmsegError
from dmseg.jobs.backends import explain_lost_worker
from dmseg.jobs.stopping import end_with_parent

GRACE_S = 5.0
"""Seconds beyond the time limit before a process is killed: the alarm inside it has the first chance."""


class CallTimeoutError(BaseException):
    """Raised inside a call that takes too long; no ``except Exception`` of user code can swallow it."""


@contextlib.contextmanager
def limit_time(seconds: float | None) -> Iterator[None]:
    """Raise :class:`CallTimeoutError` in the body after so many seconds; needs the main thread of a POSIX process."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise CallTimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Calls:
    """The calls of a watched process, by name: it says which one it makes, and is told which ones end badly.

    Attributes:
        lost: name -> ``timeout`` or ``crash``, of calls that must not be made again.
        tell: called with a name before that call, with None after it.
    """

    lost: dict[str, str] = field(default_factory=dict)
    tell: Callable[[str | None], None] = lambda name: None


@dataclass(frozen=True)
class Watched:
    """A function ``unit -> result`` that runs in a process of its own, one for each thread that calls it.

    Attributes:
        start: picklable, equal by value; called in the process with its :class:`Calls`, and gives the function.
        seconds: how long one call may take.
    """

    start: Callable[[Calls], Callable[[Any], Any]]
    seconds: float

    def __call__(self, unit: Any) -> Any:
        """Do a unit in this thread's process, which is started where there is none.

        Raises:
            WorkerLostError: the process ended outside of any call.
        """
        lost: dict[str, str] = {}
        while True:
            child = self._child()
            done, value = self._follow(child, unit, lost)
            if done:
                return value
            lost[value[0]] = value[1]
            child.kill()

    def _child(self) -> _Child:
        thread = threading.get_ident()
        owner, child = _CHILDREN.get(thread, (None, None))
        if child is not None and owner == self and child.process.is_alive():
            return child
        if child is not None:
            child.kill()
        child = _Child(self.start)
        _CHILDREN[thread] = (self, child)
        return child

    def _follow(self, child: _Child, unit: Any, lost: dict[str, str]) -> tuple[bool, Any]:
        """Return (True, result), or (False, (call, how it was lost)) where the process has to be replaced."""
        call: str | None = None
        try:
            child.pipe.send((unit, lost))
            while True:
                if not child.pipe.poll(None if call is None else self.seconds + GRACE_S):
                    return False, (call, "timeout")
                kind, value = child.pipe.recv()
                if kind == "error":
                    raise value
                if kind == "done":
                    return True, value
                call = value
        except (EOFError, BrokenPipeError, ConnectionResetError):
            if call is None:
                raise explain_lost_worker("outside of any call of the model") from None
            return False, (call, "crash")

    @contextlib.contextmanager
    def end_processes(self) -> Iterator[None]:
        """End all processes of this function after the body."""
        try:
            yield
        finally:
            for thread in [thread for thread, (owner, _) in list(_CHILDREN.items()) if owner == self]:
                _CHILDREN.pop(thread)[1].kill()


@contextlib.contextmanager
def _may_have_children() -> Iterator[None]:
    """Let a daemonic process (a worker of dask) start one all the same: this child ends with its parent by itself."""
    config = multiprocessing.process.current_process()._config  # type: ignore[attr-defined]
    daemonic = config.pop("daemon", None)
    try:
        yield
    finally:
        if daemonic is not None:
            config["daemon"] = daemonic


class _Child:
    """A watched process and the pipe to it."""

    def __init__(self, start: Callable[[Calls], Callable[[Any], Any]]) -> None:
        from joblib.externals.loky.backend.context import get_context

        context = get_context("loky")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(start, far, os.getpid()), daemon=True)
        with _may_have_children():
            self.process.start()
        far.close()

    def kill(self) -> None:
        """End the process, whatever it is at."""
        if self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it ended, and another thread has waited for it, just now
                os.kill(self.process.pid, signal.SIGKILL)  # a time limit is offered on POSIX only
        self.process.join()
        self.pipe.close()


_CHILDREN: dict[int, tuple[Watched, _Child]] = {}


def _serve(start: Callable[[Calls], Callable[[Any], Any]], pipe: Connection, parent: int) -> None:
    """Do the units that come through the pipe, and say before and after every call."""
    end_with_parent(parent)
    calls = Calls(tell=lambda name: pipe.send(("call", name)))
    try:
        function = start(calls)
        while True:
            try:
                unit, lost = pipe.recv()
            except EOFError:
                return
            calls.lost.update(lost)
            pipe.send(("done", function(unit)))
    except (DmsegError, OSError) as error:
        pipe.send(("error", error))
