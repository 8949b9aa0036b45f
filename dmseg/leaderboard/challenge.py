"""Commit, then audit: masks are drawn after a run's rows are fixed, and the predictions behind them must be shown.

Every row holds the digest of its prediction, and the run digest covers every row: packing a run commits to all of its
predictions. Which masks are asked for follows from the run digest and a *beacon*, a text that nobody could know when
the run was packed: a public one (a round of drand, a block of a chain, next week's lottery numbers), or a random number
that the maintainers draw. With n masks, a run with a share f of made-up ones passes with probability (1 - f)^n.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmseg.errors import DataError, UsageError
from dmseg.leaderboard.checks.audit import Audit, examine
from dmseg.leaderboard.checks.reference import Reference
from dmseg.manifests import Manifest, mask_sha256
from dmseg.reading import read_json, show_name
from dmseg.results import Run, open_run, run_digest
from dmseg.results.audit import PREDICTIONS_FILE, AuditRecord, read_audit, write_audit
from dmseg.rng import key_words
from dmseg.schemas import SHA256, Items, Number, Record, Text, require_shape

CHALLENGE_VERSION = 1
MASKS = 50
"""Masks that are drawn unless asked otherwise: a run with 10 % of its masks made up passes in 1 of 200 cases."""
SHOWN_SHARE = 0.9
"""Share of the drawn masks that must be shown for the tier *audited*; all that are shown must agree."""
_MOST_MASKS = 100_000
_SHAPE = Record(
    {
        "challenge_version": Number(CHALLENGE_VERSION, CHALLENGE_VERSION),
        "model": Text(80, shortest=1),
        "run_digest": Text(64, pattern=SHA256, means="64 lower-case hex digits"),
        "beacon": Text(300, shortest=8),
        "source": Text(300),
        "masks": Items(Text(300, shortest=1), _MOST_MASKS, 1, distinct=True),
    }
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is asked of an entry.

    Attributes:
        model, run_digest: the entry, and the commitment that the draw depends on.
        beacon, source: the text that the draw depends on, and where it is from.
        masks: ids of the masks whose predictions are to be shown, at every level and step.
    """

    model: str
    run_digest: str
    beacon: str
    source: str
    masks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the record that is written to ``challenge.json``."""
        return {"challenge_version": CHALLENGE_VERSION, **asdict(self), "masks": list(self.masks)}


@dataclass(frozen=True, slots=True)
class AuditOutcome:
    """What an answer came to.

    Attributes:
        masks: how many were drawn.
        shown: how many of them were shown whole: every prediction has the digest, scores and clicks of its row.
        failed: predictions that were shown and do not fit their rows.
        problems: one sentence each.
    """

    masks: int
    shown: int
    failed: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the entry is now *audited*."""
        return self.failed == 0 and self.shown >= SHOWN_SHARE * self.masks


def draw_masks(run_digest: str, beacon: str, mask_ids: Iterable[str], number: int = MASKS) -> tuple[str, ...]:
    """Return the masks that a beacon draws from a run, sorted; anybody can draw them again."""
    order = sorted(set(mask_ids), key=lambda mask_id: (int(key_words(run_digest, beacon, mask_id)[0]), mask_id))
    return tuple(sorted(order[:number]))


def make_challenge(run: Run, beacon: str | None = None, source: str = "", number: int = MASKS) -> Challenge:
    """Draw the masks of a challenge.

    Args:
        run: the entry.
        beacon: a text that was not known when the run was packed; None draws a random number here.
        source: where the beacon is from, for those who check it.
        number: how many masks; all of a run that has fewer.

    Raises:
        UsageError: a beacon of fewer than 8 characters.
    """
    if beacon is None:
        beacon, source = secrets.token_hex(32), source or "random number drawn by the maintainers"
    if len(beacon) < 8:
        raise UsageError(f'beacon "{beacon}": give at least 8 characters, such as the randomness of a drand round')
    digest = run_digest(run.path)
    masks = draw_masks(digest, beacon, run.list_masks(), number)
    challenge = Challenge(str(run.info["model"]["name"]), digest, beacon, source, masks)
    require_shape(challenge.to_json(), _SHAPE, "challenge")
    return challenge


def read_challenge(path: Path) -> Challenge:
    """Read ``challenge.json``; anything else is a DataError that names the field."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise DataError(f"{show_name(path)}: no such file; give the challenge.json that the maintainers sent") from None
    require_shape(value, _SHAPE, show_name(path))
    masks = tuple(value["masks"])
    return Challenge(value["model"], value["run_digest"], value["beacon"], value["source"], masks)


def write_answer(challenge: Challenge, run: Path, out: Path, repeated: Iterable[AuditRecord] | None = None) -> int:
    """Write the predictions that a challenge asks for; return how many.

    Args:
        run: the run folder that was packed.
        repeated: the predictions, made again; None takes those that the run kept (``--keep-predictions``).

    Raises:
        UsageError: another run than the one that is challenged, or predictions that were neither kept nor made again.
        DataError: a prediction is missing, or is not the one that its row commits to: the answer would fail.
    """
    digest = run_digest(run)
    if digest != challenge.run_digest:
        raise UsageError(f"{run}: run digest {digest[:12]}; the challenge is for {challenge.run_digest[:12]}")
    if repeated is None and not (run / PREDICTIONS_FILE).is_file():
        raise UsageError(
            f"{run}: no {PREDICTIONS_FILE}: the run was made without --keep-predictions; "
            "give --model and --data (and --weights) to make the predictions again"
        )
    wanted = set(challenge.masks)
    source = read_audit(run / PREDICTIONS_FILE) if repeated is None else repeated
    records = [record for record in source if record.mask_id in wanted]
    _require_committed(open_run(run), challenge.masks, records)
    write_audit(out, records)
    return len(records)


def _require_committed(run: Run, masks: Sequence[str], records: Sequence[AuditRecord]) -> None:
    rows = run.steps
    rows = rows[rows["mask_id"].isin(set(masks)) & (rows["status"] == "ok")]
    keys = zip(rows["mask_id"], rows["level"], rows["step"], strict=True)
    committed = dict(zip(keys, rows["pred_digest"], strict=True))
    found = {(record.mask_id, record.level, record.step): mask_sha256(record.mask()) for record in records}
    lacking = sorted(set(committed) - set(found))
    other = sorted(place for place in set(committed) & set(found) if committed[place] != found[place])
    for places, what in ((lacking, "are missing"), (other, "are not those that the rows commit to")):
        if places:
            mask_id, level, step = places[0]
            raise DataError(
                f"{len(places)} of {len(committed)} predictions {what}, the first is {mask_id} {level} step {step}; "
                "make them with the same model, weights, device and versions as the run, or keep them with the run"
            )


def check_answer(challenge: Challenge, run: Run, answer: Path, manifest: Manifest) -> AuditOutcome:
    """Compare an answer with the rows of an entry.

    Args:
        challenge: as it was sent; its masks are drawn again from the beacon.
        run: the entry.
        answer: what :func:`write_answer` wrote.
        manifest: the benchmark of the run, with masks.

    Raises:
        DataError: a challenge for another run, or whose masks the beacon does not draw; a damaged answer.
    """
    if run_digest(run.path) != challenge.run_digest:
        raise DataError(f"{run.path}: its rows are not those that the challenge was drawn for")
    drawn = draw_masks(challenge.run_digest, challenge.beacon, run.list_masks(), len(challenge.masks))
    if drawn != challenge.masks:
        raise DataError("the masks of the challenge are not those that its beacon draws; make the challenge again")
    audit = examine(answer, run.info, run.steps, run.prompts, Reference(manifest, run.gives_text), challenge.masks)
    if audit.without_reference:
        raise DataError("the benchmark has no masks for some of the drawn objects; give the built one with --data")
    return _outcome(challenge, audit)


def _outcome(challenge: Challenge, audit: Audit) -> AuditOutcome:
    absent = set(audit.problems.get("predictions are not stored", ()))
    failed = {place for places in audit.problems.values() for place in places} - absent
    shown = len(challenge.masks) - len(audit.wrong_masks)
    return AuditOutcome(len(challenge.masks), shown, len(failed), tuple(audit.sentences()))
