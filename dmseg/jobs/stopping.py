"""How jobs end early: what asks a process to stop becomes one exception, and no worker outlives its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

_LOOK_S = 0.5


class StopRequestedError(KeyboardInterrupt):
    """The system asks the process to end (SIGTERM, SIGHUP); handled as Ctrl-C is."""


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into :class:`StopRequestedError` in the body, so that it is left in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise StopRequestedError(signal.Signals(signum).name)

    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    # Another's handler, or a signal that is ignored (nohup), stays as it is.
    before = {number: signal.signal(number, stop) for number in numbers if signal.getsignal(number) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent(parent: int) -> None:
    """Make this process end within a second of its parent, and leave Ctrl-C to the parent. Call it in a worker.

    Args:
        parent: process id of the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    if hasattr(os, "getppid"):
        threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
