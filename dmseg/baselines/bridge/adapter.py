"""``Bridge``: a model in another process behind the interface of every model.

Embeddings and states stay on the other side; here are handles, which release them when nobody holds them any more. A
handle also remembers what it was made from, so that after a crash of the other side the work that is not at fault goes
on: a new process is started, and what is asked for again is made again.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.baselines.bridge import dmseg_bridge as frames
from dmseg.baselines.bridge.process import ModelProcess, ProcessDiedError
from dmseg.baselines.interface import Prediction
from dmseg.errors import ModelError
from dmseg.types import Image, Prompts

LOG = "model.log"
"""The file of a run folder that takes what the model's process prints."""
START_S = 600.0
"""Seconds that the other side has to load its model, unless a bridge file says otherwise."""


@dataclass
class Kept:
    """What the present process keeps for us: its number, and what it may forget."""

    process: int = 0
    released: collections.deque[int] = field(default_factory=collections.deque)


@dataclass(eq=False)
class Handle:
    """Something on the other side: ``number`` is valid in process ``process`` only."""

    kept: Kept = field(repr=False)
    process: int = field(default=0, init=False)
    number: int | None = field(default=None, init=False)

    def hold(self, number: int | None) -> None:
        """Stand for what the present process keeps under this number."""
        self.process, self.number = self.kept.process, number

    def __del__(self) -> None:
        if self.number is not None and self.process == self.kept.process:
            self.kept.released.append(self.number)


@dataclass(eq=False)
class Embedding(Handle):
    """What the other side keeps of one image."""

    image: NDArray[Any] = field(repr=False)


@dataclass(eq=False)
class State(Handle):
    """What the other side keeps of one mask, and the question that made it."""

    embedding: Embedding = field(repr=False)
    prompts: Prompts = field(repr=False)
    before: State | None = field(repr=False)


@dataclass(frozen=True)
class Start:
    """How the other side is started.

    Attributes:
        launch: starts the process, given the words that go before its command and a log.
        hello: what the first message says.
        start_s, message_s: seconds for loading, and for any other answer (None: no limit).
        walls: the words before the command that isolate it, as things stand now, or None.
    """

    launch: Callable[[Sequence[str], Path | None], ModelProcess]
    hello: Mapping[str, Any]
    start_s: float = START_S
    message_s: float | None = None
    walls: Callable[[], tuple[str, ...]] | None = None


class RemoteError(Exception):
    """What the model raised, in its own words; raised as a class of the original's name, so that rows say the same."""


def rebuild_error(answer: Mapping[str, Any]) -> Exception:
    """Return the error that an answer of type ``error`` tells of."""
    kind, parent = str(answer.get("kind")), MemoryError if answer.get("out_of_memory") else RemoteError
    made: Exception = type(kind if kind.isidentifier() else "RemoteError", (parent,), {})(str(answer.get("message")))
    return made


class Bridge:
    """A model in another process; see the module.

    Args:
        start: how its process is started.
        name: the name it goes by here, or None: its own.

    Attributes:
        environment: interpreter, packages, torch and CUDA of the other side.
        named_files: digests of the model's code and of files that its arguments name.
        card: name of the model's card, where it is one that ships.

    Raises:
        ModelError: the process or its model does not start.
    """

    def __init__(self, start: Start, name: str | None = None) -> None:
        self._start, self._lock = start, threading.RLock()
        self._log: Path | None = None
        self._kept = Kept()
        self._walls: tuple[str, ...] = ()
        self._process: ModelProcess | None = None
        answer = self._launch()
        facts = answer["facts"]
        self.name: str = name or facts["name"]
        self.version: str = facts["version"]
        self.device: str = str(facts.get("device") or "cpu")
        for key in frames.STATED:
            value = facts.get(key)
            setattr(self, key, None if value == [] else value)  # an empty list says nothing, and its card may
        self.capabilities = frozenset(answer["capabilities"])
        self.named_files: dict[str, Any] = {key: facts.get(key) for key in ("source_sha256", "files")}
        self.environment: dict[str, Any] = answer["environment"]
        self.card: str | None = None
        self._finalizer = weakref.finalize(self, _end, self.__dict__)

    def begin_run(self, folder: Path) -> None:
        """Add what the other side prints to a file of the run folder, and hide that folder from it if it should be."""
        with self._lock:
            self._log = folder / LOG
            if self._process is None:
                return
            if self._start.walls is not None and self._start.walls() != self._walls:
                self._drop()  # the run folder came to be after the process: the next call starts one behind new walls
            else:
                self._process.log_to(self._log)

    def close(self) -> None:
        """End the other side."""
        self._finalizer()

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return one :class:`Embedding` per image."""
        with self._lock:
            made = [Embedding(self._kept, np.ascontiguousarray(image)) for image in images]
            self._retry(lambda: self._encode(made))
            return made

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> Prediction:
        """Answer N masks; see :class:`~dmseg.baselines.interface.ModelAdapter`."""
        with self._lock:
            answer: Prediction = self._retry(lambda: self._predict(embeddings, image_index, prompts, state))
            return answer

    # ---- questions

    def _encode(self, embeddings: Sequence[Embedding]) -> None:
        answer, _ = self._ask({"type": "encode"}, [embedding.image for embedding in embeddings])
        numbers = answer["handles"]
        if len(numbers) != len(embeddings):
            raise RemoteError(f"encode returned {len(numbers)} embeddings for {len(embeddings)} images")
        for embedding, number in zip(embeddings, numbers, strict=True):
            embedding.hold(number)

    def _predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> Prediction:
        lost = [embedding for embedding in embeddings if embedding.process != self._kept.process]
        if lost:
            self._encode(lost)
        for one in state:
            self._restore(one)
        described, arrays = [], []
        for given in prompts:
            strokes = [{"kind": one.kind, "label": int(one.label)} for one in getattr(given, "strokes", ())]
            entry = {"step": int(given.step), "box": given.box is not None, "strokes": strokes}
            text = getattr(given, "text", None)
            described.append(entry if text is None else {**entry, "text": text})
            arrays += [given.points, given.labels, *([] if given.box is None else [given.box])]
            arrays += [one.path for one in getattr(given, "strokes", ())]
        question = {
            "type": "predict",
            "embeddings": [embedding.number for embedding in embeddings],
            "image_index": [int(index) for index in image_index],
            "prompts": described,
            "states": [None if one is None else one.number for one in state],
        }
        answer, found = self._ask(question, [frames.make_sendable(array) for array in arrays])
        kept = answer["states"]
        if kept is None or len(kept) != len(prompts):  # a wrong count is reported as the model's own
            return Prediction(found[0], kept, answer["scores"])
        states = []
        for place, number in enumerate(kept):
            made = State(self._kept, embeddings[image_index[place]], prompts[place], state[place])
            made.hold(number)
            states.append(made)
        return Prediction(found[0], states, answer["scores"])

    def _restore(self, state: State | None) -> None:
        """Ask again, from the first prompt on, for a state that a process took with it."""
        if state is None or state.process == self._kept.process:
            return
        self._restore(state.before)
        again = self._predict([state.embedding], [0], [state.prompts], [state.before]).state
        if again is None:
            raise RemoteError("the model gave a state before its process ended, and none after")
        state.hold(again[0].number)
        again[0].number = None  # the old handle holds it now

    # ---- the process

    def _retry(self, call: Callable[[], Any]) -> Any:
        """Call, and once more in a new process if the other side dies; what dies twice is the call's own fault."""
        for attempt in (1, 2):
            if self._process is None:
                self._launch()
            with contextlib.suppress(*([ProcessDiedError] if attempt == 1 else [])):
                return call()
        raise AssertionError  # the second call returns or raises

    def _ask(
        self, header: Mapping[str, Any], arrays: Sequence[NDArray[Any]]
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        released = [self._kept.released.popleft() for _ in range(len(self._kept.released))]
        return self._exchange({**header, "release": released}, arrays, self._start.message_s)

    def _exchange(
        self, header: Mapping[str, Any], arrays: Sequence[NDArray[Any]], limit: float | None
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        assert self._process is not None
        try:
            answer, found = self._process.exchange(header, arrays, limit)
        except TimeoutError:
            self._drop()
            raise TimeoutError(f"no answer within {limit:g} s") from None
        except BaseException:  # also an alarm of the harness: what comes later would answer an earlier question
            self._drop()
            raise
        if answer.get("type") == "error":
            raise rebuild_error(answer)
        return answer, found

    def _launch(self) -> dict[str, Any]:
        self._walls = self._start.walls() if self._start.walls else ()
        self._process = self._start.launch(self._walls, self._log)
        self._kept.process += 1
        self._kept.released.clear()
        hello = {"type": "hello", "protocol": frames.PROTOCOL, **self._start.hello}
        try:
            return self._exchange(hello, [], self._start.start_s)[0]
        except TimeoutError:
            raise ModelError(f"the model's process said nothing within {self._start.start_s:g} s") from None
        except (RemoteError, MemoryError) as error:
            self._drop()
            raise ModelError(f"the model cannot be loaded in its process: {type(error).__name__}: {error}") from None

    def _drop(self) -> None:
        if self._process is not None:
            self._process.end(politely=False)
            self._process = None


def _end(bridge: Mapping[str, Any]) -> None:
    process = bridge["_process"]
    if process is not None:
        process.end()
