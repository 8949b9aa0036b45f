"""Works through the (image, level) items of a work unit: encode once, then prompt, predict and score step by step."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError, MachineError
from dmseg.harness.calling import Answer, CallFailure, GuardedModel, Question
from dmseg.harness.options import RunOptions
from dmseg.harness.replay import Replay
from dmseg.harness.selection import Block, BlockItem, Target
from dmseg.harness.sequence import ClickSession, Row
from dmseg.manifests import thumbprint
from dmseg.protocol import Click, candidate_prompts, first_prompts, next_click
from dmseg.results.audit import AuditRecord, is_audited
from dmseg.types import Mask, Prompts, Stroke, as_rgb

PHASES = ("load", "encode", "predict", "prompt", "score")


@dataclass
class PhaseClock:
    """Milliseconds spent per phase."""

    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    _last: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        """Begin to count."""
        self._last = time.perf_counter()

    def stop(self, phase: str) -> None:
        """Add the time since the last start or stop to a phase."""
        now = time.perf_counter()
        self.spent[phase] += (now - self._last) * 1000
        self._last = now


@dataclass
class ImageAtLevel:
    """One image at one level, while it is worked on."""

    level: str
    image_id: str
    pixels: NDArray[np.uint8] | None
    sequences: list[ClickSession]
    watch: PhaseClock
    plan_digest: str
    embedding: Any = None


@dataclass(frozen=True)
class BlockResult:
    """What one work unit makes.

    Attributes:
        tables: rows by table.
        audit: records of the predictions that the run keeps.
        shown: records of predictions that it keeps only if a page shows their mask.
        halvings: how often a batch was halved since the last one.
    """

    tables: dict[str, list[Row]]
    audit: list[AuditRecord]
    shown: list[AuditRecord]
    halvings: int


class Engine:
    """Runs work units of one run on one model.

    Args:
        model: the guarded model. Several threads may share it: one is at the network, while others read and prepare
            images, prompt and score.
        options: the run's choices.
        manifest_digest: of the benchmark; it decides which objects are audited.
        device, shard: facts for timing.parquet.
        replay: recorded prompts, or None for the simulated user.
    """

    def __init__(
        self,
        model: GuardedModel,
        options: RunOptions,
        manifest_digest: str,
        device: str = "cpu",
        shard: str = "1/1",
        replay: Replay | None = None,
    ) -> None:
        self._model, self._options, self._manifest_digest = model, options, manifest_digest
        self._rules = options.rules
        self._where = {"device": device, "host": socket.gethostname(), "shard": shard}
        self._replay = replay
        self._turn = threading.Lock()

    def run(self, block: Block) -> BlockResult:
        """Return the rows of one work unit."""
        items = [self._open_image(item) for item in block.items]
        self._encode(items)
        tables: dict[str, list[Row]] = {"steps": [], "prompts": [], "inputs": [], "timing": []}
        audit: list[AuditRecord] = []
        shown: list[AuditRecord] = []
        for item in items:
            for step in range(1, self._rules.steps + 1):
                self._interact(item, step)
                item.watch.start()
                for sequence in item.sequences:
                    tables["prompts"] += sequence.prompt_rows(step, self._options.seed)
                    tables["steps"].append(sequence.step_row(step, self._options))
                    (audit if self._keeps(sequence) else shown).extend(self._record(sequence, step))
                item.watch.stop("score")
            tables["inputs"].append(self._input_row(item))
            tables["timing"].append(self._make_timing_row(item))
            item.embedding = None  # large on a GPU; the next image needs the room
        with self._turn:  # each halving is counted once, whichever work unit of the threads finishes next
            halvings, self._model.halvings = self._model.halvings, 0
        return BlockResult(tables, audit, shown, halvings)

    def _open_image(self, item: BlockItem) -> ImageAtLevel:
        watch = PhaseClock()
        image, level = item.image, item.pixels.level
        pixels, failure = None, None
        try:
            pixels = as_rgb(item.pixels.read())
        except ImageFileError as error:
            if not item.pixels.path.is_file():
                raise MachineError(
                    f"{item.pixels.path}: was built, and is gone; is the disk of the benchmark still there? Nothing of "
                    "it is counted: mend that (dmseg verify says what is missing); the same command goes on"
                ) from None
            failure = CallFailure("error", str(error))
        watch.stop("load")
        sequences = []
        for target in image.targets:
            reference = target.reference()
            sequences.append(ClickSession(image, target, level, reference, self._first(target, level, reference)))
            if failure is not None:
                sequences[-1].take(failure)
        watch.stop("prompt")
        return ImageAtLevel(level, image.image_id, pixels, sequences, watch, item.plan_digest)

    def _first(self, target: Target, level: str, reference: Mask) -> Prompts:
        if self._replay is not None:
            return self._replay.first(target.mask_id, level)
        return first_prompts(self._rules, reference, target.mask_id, self._options.seed, target.expression)

    def _encode(self, items: list[ImageAtLevel]) -> None:
        """Encode all images of the unit in one call."""
        readable = [item for item in items if item.pixels is not None]
        if not readable:
            return
        name = f"{readable[0].image_id} {readable[0].level}"
        start = time.perf_counter()
        prepared = self._model.prepare([item.pixels for item in readable if item.pixels is not None], name)
        spent = time.perf_counter() - start
        with self._turn:
            start = time.perf_counter()
            embeddings = self._model.encode_prepared(prepared, name)
            spent = (spent + time.perf_counter() - start) * 1000 / len(readable)
        for item, embedding in zip(readable, embeddings, strict=True):
            item.embedding = embedding
            item.watch.spent["encode"] += spent
            if isinstance(embedding, CallFailure):
                for sequence in item.sequences:
                    sequence.take(embedding)

    def _interact(self, item: ImageAtLevel, step: int) -> None:
        """Give the prompts of a step and take the answers."""
        item.watch.start()
        if step > 1:
            for sequence in item.sequences:
                sequence.give(self._next_click(sequence, step) if sequence.open else None)
        item.watch.stop("prompt")
        if self._rules.search is not None and self._replay is None:
            for sequence in (sequence for sequence in item.sequences if sequence.open):
                self._search(item, sequence)
        else:
            for chunk in _chunks([sequence for sequence in item.sequences if sequence.open], self._options.chunk):
                for sequence, answer in zip(chunk, self._ask_model(item, chunk), strict=True):
                    sequence.take(answer)

    def _ask_model(self, item: ImageAtLevel, chunk: list[ClickSession]) -> list[Answer | CallFailure]:
        questions = [
            Question(sequence.prompts, sequence.answer.state if sequence.answer else None, sequence.reference)
            for sequence in chunk
        ]
        return self._predict(item, questions, chunk[0].target.mask_id)

    def _predict(self, item: ImageAtLevel, questions: list[Question], first: str) -> list[Answer | CallFailure]:
        """Ask the model, one thread at a time; ``first`` and the step name the call within this image and level."""
        with self._turn:
            item.watch.start()
            name = f"{item.level} {first} step {questions[0].prompts.step}"
            answers = self._model.predict(item.embedding, questions, name)
            item.watch.stop("predict")
        return answers

    def _search(self, item: ImageAtLevel, sequence: ClickSession) -> None:
        """Try all first prompts that the preset wants tried, and keep the best or the worst by IoU."""
        tried = candidate_prompts(self._rules, sequence.reference, sequence.target.mask_id, self._options.seed)
        answers: list[Answer | CallFailure] = []
        for start in range(0, len(tried), self._options.chunk):
            asked = [Question(given, None, sequence.reference) for given in tried[start : start + self._options.chunk]]
            answers += self._predict(item, asked, f"{sequence.target.mask_id} candidates from {start}")
        overlaps = [_iou(sequence.reference, answer) for answer in answers]
        chosen = overlaps.index(min(overlaps) if self._rules.search == "min" else max(overlaps))
        sequence.prompts = tried[chosen]
        sequence.take(answers[chosen])

    def _next_click(self, sequence: ClickSession, step: int) -> Click | Stroke | None:
        if self._replay is not None:
            return self._replay.next(sequence.target.mask_id, sequence.level, step)
        if sequence.answer is None or self._rules.corrective is None:
            return None
        return next_click(
            sequence.reference,
            sequence.answer.mask,
            corrective=self._rules.corrective,
            prompts=sequence.prompts,
            mask_id=sequence.target.mask_id,
            seed=self._options.seed,
        )

    def _keeps(self, sequence: ClickSession) -> bool:
        """Tell whether every prediction of a mask is kept."""
        return self._options.keep_predictions or is_audited(self._manifest_digest, sequence.target.mask_id)

    def _record(self, sequence: ClickSession, step: int) -> list[AuditRecord]:
        """Return the record of a prediction that is kept, or that a page may show: last step, or hardest level."""
        is_shown = step == self._rules.steps or sequence.level == self._options.levels[-1]
        if not (is_shown or self._keeps(sequence)):
            return []
        record = sequence.audit(step, self._options.seed)
        return [] if record is None else [record]

    def _input_row(self, item: ImageAtLevel) -> Row:
        return {
            "image_id": item.image_id,
            "level": item.level,
            "plan_digest": item.plan_digest,
            "thumbprint": None if item.pixels is None else thumbprint(item.pixels).tobytes().hex(),
        }

    def _make_timing_row(self, item: ImageAtLevel) -> Row:
        spent = {f"{phase}_ms": round(value, 3) for phase, value in item.watch.spent.items()}
        place = {"image_id": item.image_id, "level": item.level, "masks": len(item.sequences)}
        return {**place, **spent, **self._where}


def _chunks(sequences: list[ClickSession], size: int) -> Iterator[list[ClickSession]]:
    """Yield the calls to make: equal prompts by number and kind together, in mask order, at most ``size`` each."""
    groups: dict[tuple[int, bool, tuple[str, ...]], list[ClickSession]] = {}
    for sequence in sequences:
        groups.setdefault(sequence.group, []).append(sequence)
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _iou(reference: Mask, answer: Answer | CallFailure) -> float:
    """Return the IoU of an answer; a failure is worse than any answer."""
    if isinstance(answer, CallFailure):
        return -1.0
    return int((reference & answer.mask).sum()) / int((reference | answer.mask).sum())
