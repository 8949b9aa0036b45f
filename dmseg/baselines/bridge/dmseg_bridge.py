"""The other side of a bridge: runs a model in another Python environment, container or machine, for dmseg.

One file, Python 3.8 or newer, numpy only: copy it beside your model, or let ``dmseg evaluate --model bridge:FILE.toml``
start it where it lies. It answers frames on standard input and output; whatever the model prints goes to standard
error.

    python dmseg_bridge.py adapter.py:Class      # or pkg.mod:Class, a plain function, or dmseg:NAME

A frame is 4 bytes ``DSB1``, the length of the header (uint32, little endian), the header (JSON), then the arrays that
the header lists, raw, in C order, little endian. Nothing is ever unpickled. Messages: ``hello``, ``encode``,
``predict``, ``release``, ``bye``; each is answered by one frame, of type ``ok`` or ``error``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import platform
import struct
import sys
import traceback
import types
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence  # noqa: UP035 - Python 3.8

import numpy as np

PROTOCOL = 1
MAGIC = b"DSB1"
LONGEST_HEADER = 16 << 20
LARGEST_ARRAYS = 4 << 30
KINDS = ("bool", "uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float32", "float64")
STATED = ("params", "code_url", "paper_url", "license", "input_size", "trained_on", "mode", "weights_sha256")


class ProtocolError(Exception):
    """What came is not a frame of this protocol."""


class Stroke:
    """A line drawn by hand: kind (scribble or lasso), path (K, 2) x, y, label."""

    def __init__(self, kind: str, path: Any, label: int) -> None:
        self.kind, self.path, self.label = kind, path, label


class Prompts:
    """All prompts of one mask so far: points (K, 2) x, y; labels (K,); box (4,) or None; step 1..T; strokes; text."""

    def __init__(
        self, points: Any, labels: Any, box: Any, step: int, strokes: Sequence[Stroke] = (), text: Any = None
    ) -> None:
        self.points, self.labels, self.box, self.step, self.strokes = points, labels, box, step, tuple(strokes)
        self.text = text


class Prediction:
    """The answer for N masks: logits (N, H, W), one state per mask or None, one score per mask or None."""

    def __init__(self, logits: Any, state: Any = None, scores: Any = None) -> None:
        self.logits, self.state, self.scores = logits, state, scores


# ---------------------------------------------------------------- frames


def pack_header(header: Mapping[str, Any], arrays: Sequence[Any]) -> bytes:
    """Return the bytes before the arrays of a frame."""
    described = [[array.dtype.name, list(array.shape)] for array in arrays]
    text = json.dumps(dict(header, arrays=described)).encode()
    if len(text) > LONGEST_HEADER:
        raise ProtocolError(f"a header of {len(text)} bytes; at most {LONGEST_HEADER}")
    return MAGIC + struct.pack("<I", len(text)) + text


def check_preamble(preamble: bytes) -> int:
    """Return the length of the header that 8 bytes announce."""
    if preamble[:4] != MAGIC:
        raise ProtocolError(f"these are no frames: {preamble[:8]!r} came where DSB1 was expected")
    length = int.from_bytes(preamble[4:8], "little")
    if length > LONGEST_HEADER:
        raise ProtocolError(f"a header of {length} bytes; at most {LONGEST_HEADER}")
    return length


def parse_header(text: bytes) -> tuple[dict[str, Any], list[Any]]:
    """Return the header and empty arrays of the shapes that it lists."""
    try:
        header = json.loads(text.decode())
        described = [(str(kind), [int(side) for side in shape]) for kind, shape in header.pop("arrays")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"not a header: {error}") from None
    arrays, total = [], 0
    for kind, shape in described:
        if kind not in KINDS or len(shape) > 8 or any(side < 0 for side in shape):
            raise ProtocolError(f"an array of type {kind} and shape {shape} is not allowed")
        size = np.dtype(kind).itemsize
        for side in shape:
            size *= side
        total += size
        if total > LARGEST_ARRAYS:
            raise ProtocolError(f"arrays of over {LARGEST_ARRAYS} bytes in one frame")
        arrays.append(np.empty(shape, np.dtype(kind)))
    return header, arrays


def view_bytes(array: Any) -> memoryview:
    """Return the memory of a C-ordered array as bytes that can be read into or written from."""
    return memoryview(array.reshape(-1).view(np.uint8)) if array.size else memoryview(b"")


def make_sendable(array: Any) -> Any:
    """Return an array as a frame can hold it: C order, little endian, a type of the protocol."""
    array = np.ascontiguousarray(array)
    if array.dtype.name not in KINDS:
        raise ValueError(f"an array of dtype {array.dtype}; expected numbers")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


class Channel:
    """Frames over two blocking binary streams."""

    def __init__(self, reader: BufferedReader, writer: BufferedWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, header: Mapping[str, Any], arrays: Sequence[Any] = ()) -> None:
        """Write one frame."""
        self._writer.write(pack_header(header, arrays))
        for array in arrays:
            self._writer.write(view_bytes(array))
        self._writer.flush()

    def receive(self) -> tuple[dict[str, Any], list[Any]] | None:
        """Return header and arrays of the next frame, or None at the end."""
        preamble = self._reader.read(8)
        if not preamble:
            return None
        header, arrays = parse_header(self._reader.read(check_preamble(preamble)))
        for array in arrays:
            self._fill(view_bytes(array))
        return header, arrays

    def _fill(self, memory: memoryview) -> None:
        done = 0
        while done < len(memory):
            got = self._reader.readinto(memory[done:])
            if not got:
                raise ProtocolError("the stream ended inside a frame")
            done += got


# ---------------------------------------------------------------- the model


def read_answer(answer: Any) -> Any:
    """Return a prediction, logits alone, a tuple (logits, state, scores) or a mapping of these as one prediction."""
    if hasattr(answer, "shape"):
        return Prediction(answer)
    if isinstance(answer, dict) and "logits" in answer and set(answer) <= {"logits", "state", "scores"}:
        return Prediction(**answer)
    if isinstance(answer, tuple) and 1 <= len(answer) <= 3 and not hasattr(answer, "logits"):
        return Prediction(*answer)
    return answer


class FunctionModel:
    """A plain function ``f(image, points, labels, box, previous) -> logits`` as a model."""

    capabilities = ("points", "negative_points", "box", "mask_feedback")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def encode(self, images: Sequence[Any]) -> Sequence[Any]:
        return list(images)

    def predict(self, embeddings: Any, image_index: Any, prompts: Any, state: Any) -> Prediction:
        answers = []
        for index, given, previous in zip(image_index, prompts, state):  # noqa: B905 - Python 3.8
            answer = self.function(embeddings[index].copy(), given.points, given.labels, given.box, previous)
            answers.append(np.array(to_array(answer)))
        return Prediction(np.stack(answers), answers)


def to_array(values: Any) -> Any:
    """Return a tensor, array or nested list as an array in this machine's memory."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
        return values.numpy()
    return np.asarray(values)


def import_target(reference: str) -> Any:
    """Return what ``file.py:Object`` or ``pkg.mod:Object`` names."""
    place, _, attribute = reference.rpartition(":")
    if not place or not attribute:
        raise ValueError(f"{reference}: give file.py:Class or pkg.mod:Class")
    if not place.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        return getattr(importlib.import_module(place), attribute)
    path = Path(place).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("dmseg_user_model", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"{place}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["dmseg_user_model"] = module
    spec.loader.exec_module(module)
    return getattr(module, attribute)


def provide_interface() -> None:
    """Let ``from dmseg.baselines import Prediction`` work where dmseg is not installed."""
    if importlib.util.find_spec("dmseg") is None:
        package, baselines, kinds = (types.ModuleType("dmseg" + rest) for rest in ("", ".baselines", ".types"))
        vars(baselines)["Prediction"], vars(kinds)["Prompts"] = Prediction, Prompts
        for module in (package, baselines, kinds):
            sys.modules[module.__name__] = module
    sys.modules.setdefault("dmseg_bridge", sys.modules[__name__])


def make_model(reference: str, request: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model and its facts."""
    given = dict(request.get("arguments") or {})
    offered = {key: request.get(key) for key in ("weights", "device", "precision")}
    if reference.startswith("dmseg:"):
        return make_dmseg_model(reference[len("dmseg:") :], offered, given)
    target = import_target(reference)
    model: Any
    if inspect.isclass(target):
        accepted = inspect.signature(target).parameters
        passed = {key: value for key, value in offered.items() if key in accepted and value is not None}
        model = target(**dict(passed, **given))
    else:
        model = target if hasattr(target, "predict") else FunctionModel(target)
    source = inspect.getsourcefile(target if inspect.isclass(target) or inspect.isfunction(target) else type(target))
    digest = hash_file(source)[:12] if source and Path(source).is_file() else None
    facts = {key: getattr(model, key, None) for key in STATED}
    facts["trained_on"] = sorted(facts["trained_on"] or ())
    stated = getattr(model, "version", None)
    place = request.get("weights")
    if place and facts["weights_sha256"] is None and is_file(place):
        facts["weights_sha256"] = hash_file(place)
    named = {key: hash_file(value) for key, value in given.items() if isinstance(value, str) and is_file(value)}
    facts = dict(facts, source_sha256=hash_file(source) if source and digest else None, files=named)
    return model, dict(facts, name=str(model.name), version=str(stated if stated is not None else digest))


def is_file(text: str) -> bool:
    """Tell whether a text is the path of a file."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def make_dmseg_model(name: str, offered: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a model as ``dmseg evaluate --model NAME`` loads it, and its facts."""
    from dmseg.baselines import load_model, model_facts

    model = load_model(name, offered["weights"], offered["device"] or "auto", arguments, offered["precision"] or "fp32")
    if hasattr(model, "predict_from_reference"):
        raise ValueError(f"{name} is a self-test that sees the reference; it cannot be isolated")
    return model, dict(model_facts(model, arguments, offered["weights"]), device=str(getattr(model, "device", "cpu")))


def hash_file(path: str) -> str:
    """Return the sha256 of a file, hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def describe_environment() -> dict[str, Any]:
    """Return what this side is: interpreter, packages, torch, CUDA."""
    from importlib import metadata

    rows = sorted(f"{one.metadata['Name']}=={one.version}" for one in metadata.distributions())
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        "packages_sha256": hashlib.sha256("\n".join(rows).encode()).hexdigest(),
        "torch": None,
        "cuda": None,
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"], found["cuda"] = str(torch.__version__), torch.version.cuda
    return found


class Server:
    """Answers messages about one model; embeddings and states stay here, the asker holds their numbers."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._model: Any = None
        self._kept: dict[int, Any] = {}
        self._next = 1

    def answer(self, header: Mapping[str, Any], arrays: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Return header and arrays of the answer to one message."""
        kind = header.get("type")
        for number in header.get("release", ()):
            self._kept.pop(number, None)
        if kind == "hello":
            return self._hello(header), []
        if kind == "encode":
            embeddings = list(self._model.encode([np.array(image) for image in arrays]))
            return {"handles": [self._keep(value) for value in embeddings]}, []
        if kind == "predict":
            return self._predict(header, arrays)
        if kind in ("release", "bye"):
            return {}, []
        raise ProtocolError(f"unknown message {kind!r}")

    def _hello(self, header: Mapping[str, Any]) -> dict[str, Any]:
        if header.get("protocol") != PROTOCOL:
            raise ProtocolError(
                f"the asker speaks protocol {header.get('protocol')}, this dmseg_bridge {PROTOCOL}: "
                "use the dmseg_bridge.py of its dmseg"
            )
        np.random.seed(int(header.get("seed", 0)))  # noqa: NPY002 - for models that draw from it
        model, facts = make_model(self._reference, header)
        capabilities = sorted(str(one) for one in model.capabilities)
        self._model = model
        return {"facts": facts, "capabilities": capabilities, "environment": describe_environment()}

    def _keep(self, value: Any) -> int | None:
        if value is None:
            return None
        number, self._next = self._next, self._next + 1
        self._kept[number] = value
        return number

    def _fetch(self, number: int | None) -> Any:
        return None if number is None else self._kept[number]

    def _predict(self, header: Mapping[str, Any], arrays: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
        parts = iter(arrays)
        prompts = []
        for given in header["prompts"]:
            points, labels = next(parts), next(parts)
            box = next(parts) if given["box"] else None
            strokes = [Stroke(one["kind"], next(parts), one["label"]) for one in given.get("strokes", ())]
            prompts.append(Prompts(points, labels, box, given["step"], strokes, given.get("text")))
        embeddings = [self._fetch(number) for number in header["embeddings"]]
        states = [self._fetch(number) for number in header["states"]]
        given = self._model.predict(embeddings, header["image_index"], prompts, states)
        prediction = read_answer(given)
        logits, state = getattr(prediction, "logits", None), getattr(prediction, "state", None)
        if not hasattr(logits, "shape"):
            raise ValueError(f"the answer has no array of logits: {type(given).__name__}")
        scores = getattr(prediction, "scores", None)
        answer = {
            "states": None if state is None else [self._keep(value) for value in state],
            "scores": None if scores is None else [float(score) for score in scores],
        }
        return answer, [make_sendable(to_array(logits))]


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return an answer that says what went wrong."""
    text = (str(error).strip().splitlines() or [""])[0]
    out_of_memory = isinstance(error, MemoryError) or "out of memory" in text.lower()
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    sys.stderr.write(trace)
    sys.stderr.flush()
    return {"type": "error", "kind": type(error).__name__, "message": text, "out_of_memory": out_of_memory}


def take_streams() -> Channel:
    """Return a channel on the process's own input and output, and send what anybody prints to standard error."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Channel(reader, writer)


def main(arguments: Sequence[str]) -> int:
    """Answer messages until the asker leaves."""
    if len(arguments) != 1:
        sys.stderr.write("usage: dmseg_bridge.py file.py:Class | pkg.mod:Class | dmseg:NAME\n")
        return 2
    channel = take_streams()
    sys.argv = sys.argv[:1]
    provide_interface()
    server = Server(arguments[0])
    while True:
        frame = channel.receive()
        if frame is None:
            return 0
        try:
            answer, arrays = server.answer(*frame)
            channel.send(dict(answer, type="ok"), arrays)
        except BrokenPipeError:
            return 0
        except (Exception, SystemExit) as error:
            channel.send(describe_error(error))
        if frame[0].get("type") == "bye":
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
