"""Checks a model before it is run for hours: does it answer, alike twice, alike in a batch, and to the prompts given?

Everything is tried on drawn images of known content; nothing here says how good a model is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dmseg.baselines import CAPABILITIES, ModelAdapter, SelfTestAdapter
from dmseg.baselines.interface import read_prediction
from dmseg.harness.calling import Answer, CallFailure, GuardedModel, Question
from dmseg.jobs import peak_memory
from dmseg.types import Mask, Prompts, Stroke

T = TypeVar("T")
OK, WARNING, FAILED = "ok", "warning", "failed"
_SHAPES = ((96, 128), (131, 90))
_DISCS = ((0.3, 0.4, 0.18), (0.72, 0.62, 0.15))
_REMEMBERS = "keep what belongs to an image in its embedding, or evaluate with --serial"
_ENOUGH = frozenset({"points", "box", "text"})
_FEW_PIXELS = 1e-3
"""Share of pixels that may differ between batch and single before it is called a failure: float sums are reordered."""
_REPEATS = 3
_SLOW_MS = 1000.0
"""A call that takes longer is timed once: repeating it would cost more than a steadier figure is worth."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a self-check: what was checked, ``ok``, ``warning`` or ``failed``, and what was seen."""

    name: str
    verdict: str
    detail: str


class CheckScene:
    """A drawn image with two bright discs, and questions about them."""

    def __init__(self, height: int, width: int) -> None:
        rows, columns = np.mgrid[:height, :width]
        side = min(height, width)
        self.centres = [(round(x * width), round(y * height)) for x, y, _ in _DISCS]
        self.masks: list[Mask] = [
            (columns - x) ** 2 + (rows - y) ** 2 <= (radius * side) ** 2
            for (x, y), (_, _, radius) in zip(self.centres, _DISCS, strict=True)
        ]
        grey = 60 + 8 * np.sin(rows / 5) * np.cos(columns / 7) + sum(110 * mask for mask in self.masks)
        self.image: NDArray[np.uint8] = np.repeat(np.asarray(grey, dtype=np.uint8)[..., None], 3, axis=2)

    def question(self, prompts: Prompts, place: int = 0, state: Any = None) -> Question:
        """Return a question whose reference is disc ``place`` (self-tests look at it)."""
        return Question(prompts, state, self.masks[place])

    def click(self, place: int, *more: tuple[int, int, int]) -> Prompts:
        """Return a click on disc ``place`` and further points (x, y, label)."""
        points = [(*self.centres[place], 1), *more]
        return Prompts(
            points=np.array([point[:2] for point in points], dtype=np.float32),
            labels=np.array([point[2] for point in points], dtype=np.int8),
            box=None,
            step=len(points),
        )

    def box(self, place: int) -> Prompts:
        """Return the tight box of disc ``place``."""
        rows, columns = np.nonzero(self.masks[place])
        corners = np.array([columns.min(), rows.min(), columns.max(), rows.max()], dtype=np.float32)
        return Prompts(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), corners, 1)

    def scribble(self, place: int) -> Prompts:
        """Return a short line over disc ``place``."""
        x, y = self.centres[place]
        return _draw_stroke("scribble", [[x - 3, y], [x + 3, y + 2]])

    def lasso(self, place: int) -> Prompts:
        """Return an outline around disc ``place``: its tight box."""
        rows, columns = np.nonzero(self.masks[place])
        (x0, x1), (y0, y1) = ((int(axis.min()), int(axis.max())) for axis in (columns, rows))
        return _draw_stroke("lasso", [[x0, y0], [x1, y0], [x1, y1], [x0, y1]])

    def name(self, place: int) -> Prompts:
        """Return a sentence that names disc ``place``."""
        (x, _), (other, _) = self.centres[place], self.centres[1 - place]
        text = f"the bright disc on the {'left' if x < other else 'right'}"
        return Prompts(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), None, 1, text=text)

    def prompts(self, place: int, capabilities: frozenset[str]) -> Prompts:
        """Return prompts for disc ``place`` of a kind that the model takes."""
        kinds = {"points": self.click, "box": self.box, "text": self.name}
        return next(make for kind, make in kinds.items() if kind in capabilities)(place)


def _draw_stroke(kind: str, path: list[list[int]]) -> Prompts:
    stroke = Stroke(kind, np.array(path, np.float32), 1)
    return Prompts(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), None, 1, (stroke,))


def selfcheck(model: ModelAdapter | SelfTestAdapter, timeout: float | None = None) -> list[Check]:
    """Return one verdict per property; a model that fails one can still be run, its rows will show it."""
    checks = [_capabilities(model)]
    if not model.capabilities & _ENOUGH:
        return checks
    guarded = GuardedModel(model, timeout)
    scenes = [CheckScene(*shape) for shape in _SHAPES]
    embeddings = guarded.encode([scene.image for scene in scenes])
    failure = next((item for item in embeddings if isinstance(item, CallFailure)), None)
    if failure is not None:
        return [*checks, Check("encode", FAILED, failure.message)]
    checks.append(Check("encode", OK, f"{len(scenes)} images of different size in one call"))
    asked = _Asked(guarded, scenes[0], embeddings[0], model.capabilities)
    first = asked.ask(asked.take_prompts(0))
    if isinstance(first, CallFailure):
        failed = Check("answer", FAILED, f"{first.status}: {first.message}")
        asked = _Asked(guarded, scenes[0], guarded.encode([scenes[0].image])[0], model.capabilities)
        first = asked.ask(asked.take_prompts(0))
        if isinstance(first, CallFailure):
            return [*checks, failed]
        checks.append(
            Check("two images", FAILED, f"with another image encoded in between, {failed.detail}; {_REMEMBERS}")
        )
    checks.append(Check("answer", OK, f"logits on the image's grid; {int(first.mask.sum())} pixels for one prompt"))
    for check in CHECKS:
        checks += check(asked, scenes, model)
    return checks


@dataclass(frozen=True)
class _Asked:
    """One scene at one model, for short questions; ``encode_ms`` are the times that its encoding has taken."""

    guarded: GuardedModel
    scene: CheckScene
    embedding: Any
    capabilities: frozenset[str]
    encode_ms: list[float] = field(default_factory=list)

    def take_prompts(self, place: int) -> Prompts:
        return self.scene.prompts(place, self.capabilities)

    def ask(self, prompts: Prompts, place: int = 0) -> Answer | CallFailure:
        return self.guarded.predict(self.embedding, [self.scene.question(prompts, place)])[0]


Checked = Iterator[Check]
Model = ModelAdapter | SelfTestAdapter


def _capabilities(model: Model) -> Check:
    unknown = sorted(set(model.capabilities) - set(CAPABILITIES))
    if unknown or not model.capabilities & _ENOUGH:
        return Check("capabilities", FAILED, f"{', '.join(unknown) or 'no points, box or text'}; see docs/models.md")
    return Check("capabilities", OK, ", ".join(name for name in CAPABILITIES if name in model.capabilities))


def _determinism(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    first, second = asked.ask(asked.take_prompts(0)), asked.ask(asked.take_prompts(0))
    yield _compare_answers("determinism", first, second, "the same question twice", exact=True)


def _other_image(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    before = asked.ask(asked.take_prompts(0))
    other = asked.guarded.encode([scenes[1].image])[0]
    if not isinstance(other, CallFailure):
        asked.guarded.predict(other, [scenes[1].question(scenes[1].prompts(1, model.capabilities), 1)])
    again, milliseconds = _time_call(lambda: asked.guarded.encode([scenes[0].image])[0])
    asked.encode_ms.append(milliseconds)
    asked_again = _Asked(asked.guarded, asked.scene, again, asked.capabilities)
    kept = _compare_answers(
        "memory", before, asked.ask(asked.take_prompts(0)), "before and after another image", exact=True
    )
    hint = f"; {_REMEMBERS}" if kept.verdict == FAILED else ""
    yield Check(kept.name, kept.verdict, kept.detail + hint)
    if not isinstance(again, CallFailure):
        answer = asked_again.ask(asked.take_prompts(0))
        yield _compare_answers("encoder", before, answer, "an image encoded in a batch and alone", exact=False)


def _batch(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    if "batched_prompts" not in model.capabilities:
        yield Check("batch", OK, "one mask per call (no batched_prompts)")
        return
    questions = [asked.scene.question(asked.take_prompts(place), place) for place in (0, 1, 0)]
    together = asked.guarded.predict(asked.embedding, questions)
    for place, answer in enumerate(together[:2]):
        alone = asked.ask(asked.take_prompts(place), place)
        yield _compare_answers(f"batch, mask {place + 1}", answer, alone, "three masks in a call and one", exact=False)


def _compare_answers(
    name: str, first: Answer | CallFailure, second: Answer | CallFailure, how: str, *, exact: bool
) -> Check:
    """Return whether two answers agree to the pixel; ``exact`` says that a few different pixels are a failure too."""
    if isinstance(first, CallFailure):
        return Check(name, FAILED, f"{how}: {first.message}")
    if isinstance(second, CallFailure):
        return Check(name, FAILED, f"{how}: {second.message}")
    different = int((first.mask != second.mask).sum())
    if different == 0:
        return Check(name, OK, f"{how}: equal masks")
    few = not exact and different <= _FEW_PIXELS * first.mask.size
    return Check(name, WARNING if few else FAILED, f"{how}: {different} of {first.mask.size} pixels differ")


def _mutation(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    if isinstance(model, SelfTestAdapter):
        return
    image, given = asked.scene.image.copy(), asked.take_prompts(0)
    kept = [array.copy() for array in _arrays(given)]
    try:
        embeddings = model.encode([image])
        prediction = read_prediction(model.predict(embeddings, [0], [given], [None]))
    except Exception as error:
        yield Check("inputs", FAILED, f"direct call: {type(error).__name__}: {error}")
        return
    changed = [] if np.array_equal(image, asked.scene.image) else ["the image"]
    if not all(np.array_equal(one, other) for one, other in zip(kept, _arrays(given), strict=True)):
        changed.append("the prompts")
    detail = f"changes {' and '.join(changed)} it is given (the harness gives copies)" if changed else "left alone"
    yield Check("inputs", WARNING if changed else OK, detail)
    dtype = str(getattr(prediction.logits, "dtype", "?"))
    graded = "float" in dtype
    yield Check("logits", OK if graded else WARNING, f"dtype {dtype}" + ("" if graded else "; floats are expected"))
    if graded:
        yield _check_range(prediction.logits)
    yield from _check_training_mode(model)


def _check_range(logits: Any) -> Check:
    """Probabilities are no logits: everything above 0 would be foreground."""
    low, high = float(logits.min()), float(logits.max())
    if low >= 0 and high <= 1 and high > low:
        detail = f"all values in {low:.3g}..{high:.3g}: probabilities? A logit above 0 is foreground; return logits"
        return Check("logit range", FAILED, detail)
    return Check("logit range", OK, f"{low:.3g}..{high:.3g}")


def _check_training_mode(model: Model) -> Checked:
    """Networks left in training mode drop units at random and normalise by the batch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    modules = [(name, value) for name, value in vars(model).items() if isinstance(value, torch.nn.Module)]
    left = [
        f"{name}.{inner}".rstrip(".")
        for name, module in modules
        for inner, part in module.named_modules()
        if part.training and (isinstance(part, torch.nn.modules.dropout._DropoutNd) or hasattr(part, "running_mean"))
    ]
    if left:
        shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        yield Check("evaluation mode", FAILED, f"in training mode: {shown}; call .eval() on the network")
    elif modules:
        yield Check("evaluation mode", OK, "no dropout or batch normalisation in training mode")


def _arrays(prompts: Prompts) -> list[NDArray[Any]]:
    return [prompts.points, prompts.labels, *([] if prompts.box is None else [prompts.box])]


def _uses_prompts(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    """Two different prompts must be able to give two different masks."""
    scene = asked.scene
    pairs: dict[str, tuple[Prompts, Prompts]] = {
        "points": (scene.click(0), scene.click(1)),
        "box": (scene.box(0), scene.box(1)),
        "scribbles": (scene.scribble(0), scene.scribble(1)),
        "lassos": (scene.lasso(0), scene.lasso(1)),
        "text": (scene.name(0), scene.name(1)),
    }
    for name, (one, other) in pairs.items():
        if name not in model.capabilities:
            continue
        first, second = asked.ask(one, 0), asked.ask(other, 1)
        if isinstance(first, CallFailure) or isinstance(second, CallFailure):
            yield _compare_answers(f"uses {name}", first, second, "two objects", exact=True)
        elif np.array_equal(first.mask, second.mask):
            verdict = WARNING if name == "text" else FAILED  # what a network calls a disc is not for us to say
            detail = "prompts for two different objects give the same mask: here they make no difference"
            yield Check(f"uses {name}", verdict, detail)
        else:
            yield Check(f"uses {name}", OK, "prompts for two different objects give two masks")


def _honours_click(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    """A click's own pixel should get the click's label: corrective clicks are wasted otherwise."""
    x, y = asked.scene.centres[0]
    if "points" in model.capabilities:
        answer = asked.ask(asked.scene.click(0))
        yield _at("foreground click", isinstance(answer, Answer) and bool(answer.mask[y, x]), wanted=True)
    if {"points", "negative_points"} <= model.capabilities and not isinstance(model, SelfTestAdapter):
        off = (x + 6, y + 4, 0)
        answer = asked.ask(asked.scene.click(0, off))
        yield _at("background click", not isinstance(answer, Answer) or bool(answer.mask[off[1], off[0]]), wanted=False)


def _at(name: str, inside: bool, *, wanted: bool) -> Check:
    return Check(name, OK if inside == wanted else WARNING, f"its pixel is {'' if inside else 'not '}in the mask")


def _axes(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    """Prompts are x, y: a mask about the mirrored place says that they were taken for y, x."""
    if "points" not in model.capabilities or isinstance(model, SelfTestAdapter):
        return
    scene = asked.scene
    x, y = scene.centres[1]  # off the diagonal
    answer = asked.ask(scene.click(1), 1)
    if isinstance(answer, CallFailure) or not answer.mask.any():
        return
    rows, columns = np.nonzero(answer.mask)
    away = float(np.hypot(columns - x, rows - y).min())
    middle_x, middle_y = float(columns.mean()), float(rows.mean())  # a random network's mask lies everywhere
    if away >= 1.5 and np.hypot(middle_x - y, middle_y - x) < min(scene.image.shape[:2]) / 8:
        yield Check("x and y", FAILED, f"a click at x {x}, y {y} gives a mask about x {y}, y {x}: the axes are swapped")
    else:
        yield Check("x and y", OK, "the mask lies where the click is")


def _box_and_click(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    """Presets give a box first and clicks after it: both come in one call."""
    if not {"points", "box"} <= model.capabilities:
        return
    click = asked.scene.click(0)
    both = Prompts(click.points, click.labels, asked.scene.box(0).box, 2)
    answer = asked.ask(both)
    message = f"{answer.status}: {answer.message}" if isinstance(answer, CallFailure) else None
    yield Check("box and click", FAILED if message else OK, message or "answered together")


def _edge(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    """Prompts at the frame are legal."""
    height, width = asked.scene.image.shape[:2]
    corners = np.array([0, 0, width - 1, height - 1], np.float32)
    given = {
        "points": Prompts(np.zeros((1, 2), np.float32), np.ones(1, np.int8), None, 1),
        "box": Prompts(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), corners, 1),
    }
    for name, prompts in given.items():
        if name in model.capabilities:
            answer = asked.ask(prompts)
            message = answer.message if isinstance(answer, CallFailure) else None
            yield Check(f"{name} at the frame", FAILED if message else OK, message or "answered")


def _cost(asked: _Asked, scenes: list[CheckScene], model: Model) -> Checked:
    encode = _milliseconds(lambda: asked.guarded.encode([asked.scene.image]), asked.encode_ms)
    predict = _milliseconds(lambda: asked.ask(asked.take_prompts(0)))
    height, width = asked.scene.image.shape[:2]
    yield Check("time", OK, f"encode {encode:.1f} ms, predict {predict:.1f} ms per mask (wall, {height} x {width})")
    yield Check("memory use", OK, _memory())


CHECKS = (
    *(_determinism, _other_image, _batch, _mutation, _uses_prompts),
    *(_honours_click, _axes, _box_and_click, _edge, _cost),
)


def _milliseconds(call: Callable[[], Any], spent: Sequence[float] = ()) -> float:
    """Return the shortest wall time of a few calls, ``spent`` among them; slow ones are not repeated."""
    times = [*spent] or [_time_call(call)[1]]
    while len(times) < _REPEATS and times[0] < _SLOW_MS:
        times.append(_time_call(call)[1])
    return min(times)


def _time_call(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and its wall time in ms."""
    start = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - start) * 1000


def _memory() -> str:
    peak = peak_memory()
    text = "not known on this system" if peak is None else f"peak of this process {peak / 2**20:.0f} MiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text += f", of the GPU {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"
    return text
