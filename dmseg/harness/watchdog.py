"""Time limits that hold: the model runs in a process of its own, which is ended when a call never comes back.

Inside that process the limit is an alarm, which stops Python code and costs nothing else. Code that never returns to
Python (a deadlock in a library, a kernel that hangs) does not hear it: then the process is killed, the call is
remembered as one that ends badly, and a new process does the same work unit again without making it. A crash is
treated alike.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from joblib.externals.loky.backend.context import get_context

from dmseg.errors import DataError, DmsegError
from dmseg.harness.calling import CallFailure
from dmseg.harness.parts import Parts
from dmseg.harness.selection import Block
from dmseg.harness.setup import Setup, guard_model, load_here, make_engine

GRACE_S = 5.0
"""Seconds beyond the time limit before a process is killed: the alarm inside it has the first chance."""

_END = object()


def watch_blocks(setup: Setup, blocks: Mapping[int, Block], jobs: int) -> Iterator[int]:
    """Do the work units in ``jobs`` watched processes, and yield their numbers as they are done.

    Raises:
        DmsegError: a process ended outside of any call of the model.
    """
    outcomes: queue.Queue[Any] = queue.Queue()
    numbers = list(blocks)
    watchers = [_Watcher(setup, {n: blocks[n] for n in numbers[start::jobs]}, outcomes) for start in range(jobs)]
    threads = [threading.Thread(target=watcher.run, daemon=True) for watcher in watchers]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            outcome = outcomes.get()
            if outcome is _END:
                running -= 1
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                yield outcome
    finally:
        for watcher in watchers:
            watcher.stop()
        for thread in threads:
            thread.join()


class _Watcher:
    """Runs a share of the work units in one process after another."""

    def __init__(self, setup: Setup, blocks: dict[int, Block], outcomes: queue.Queue[Any]) -> None:
        self._setup, self._blocks, self._outcomes = setup, blocks, outcomes
        self._known: dict[str, CallFailure] = {}
        self._process: Any = None
        self._stopped = False

    def run(self) -> None:
        """Do the share; numbers and the end, or an error, go to the queue."""
        try:
            while self._blocks and not self._stopped:
                self._one_process()
            self._outcomes.put(_END)
        except Exception as error:
            self._outcomes.put(error)

    def stop(self) -> None:
        """End the process that is running."""
        self._stopped = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it ended, and another thread has waited for it, just now
                os.kill(self._process.pid, signal.SIGKILL)  # a time limit is offered on POSIX only

    def _one_process(self) -> None:
        context = get_context("loky")
        receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_child, args=(self._setup, self._blocks, self._known, sender))
        self._process.start()
        sender.close()
        try:
            self._listen(receiver)
        finally:
            self._kill()
            self._process.join()
            receiver.close()

    def _listen(self, receiver: Connection) -> None:
        """Follow a process until it is done, or ends, or a call takes too long."""
        limit = self._setup.options.timeout or 0.0
        call: str | None = None
        while self._blocks:
            if not receiver.poll(None if call is None else limit + GRACE_S):
                self._known[str(call)] = CallFailure("timeout", f"no answer within {limit:g} s")
                return
            try:
                kind, value = receiver.recv()
            except EOFError:
                if call is None and not self._stopped:
                    raise DataError(
                        "a worker was ended by the system; run the same command again, it goes on"
                    ) from None
                self._known[str(call)] = CallFailure("error", "the process ended during this call")
                return
            if kind == "error":
                raise value
            if kind == "done":
                del self._blocks[value]
                self._outcomes.put(value)
            else:
                call = value


def _child(setup: Setup, blocks: dict[int, Block], known: dict[str, CallFailure], sender: Connection) -> None:
    """Do work units in a process of its own, and say before and after every call of the model."""
    try:
        model = guard_model(
            setup,
            load_here(setup),
            known=known,
            before=lambda name: sender.send(("call", name)),
            after=lambda name: sender.send(("call", None)),
        )
        engine, parts = make_engine(setup, model), Parts(setup.out)
        for number, block in blocks.items():
            parts.write(number, engine.run(block))
            sender.send(("done", number))
    except (DmsegError, OSError) as error:
        sender.send(("error", error))
