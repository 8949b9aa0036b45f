"""Two runs of one model compared: the submitter's and the maintainers' own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dmseg.errors import UsageError
from dmseg.naming import name_key
from dmseg.results import Run, run_digest

LEVEL_TOLERANCE = 1e-3
"""Largest difference of mean final Dice at any level: what another device, chunk or batch size may cost."""
LEAST_CORRELATION = 0.99
"""Least correlation of final Dice over masks and levels: machines differ at a few edges, not in which masks fail."""
_SAME = (
    ("protocol", ("id", "preset", "corrective", "steps", "seed")),
    ("benchmark", ("manifest_digest", "split", "levels")),
    ("model", ("weights_sha256",)),
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a run agrees with a run of the same model.

    Attributes:
        run_digest: digest of the second run; equal ones have equal rows.
        equal: whether the rows are the same to the last bit.
        level_difference: largest absolute difference of mean final Dice at any level of any split.
        correlation: of final Dice over masks and levels; 1 where there is no spread and no difference.
    """

    run_digest: str
    equal: bool
    level_difference: float
    correlation: float

    @property
    def agrees(self) -> bool:
        """Whether the second run confirms the first."""
        close = self.level_difference <= LEVEL_TOLERANCE and self.correlation >= LEAST_CORRELATION
        return self.equal or close

    def to_json(self) -> dict[str, Any]:
        """Return the record that is kept beside the entry."""
        return asdict(self)


def compare_runs(entry: Run, again: Run) -> Agreement:
    """Compare an entry with a run of the same model on the same benchmark.

    Raises:
        UsageError: another model, protocol, benchmark, or other masks; the message says what differs.
    """
    names = [str(run.info["model"]["name"]) for run in (entry, again)]
    if name_key(names[0]) != name_key(names[1]):
        raise UsageError(f"{again.path} is a run of {names[1]}, the entry one of {names[0]}")
    for part, keys in _SAME:
        for key in keys:
            one, other = entry.info[part].get(key), again.info[part].get(key)
            if one != other:
                raise UsageError(f"{part}.{key} is {one} in the entry and {other} in {again.path}: run it the same way")
    digests = run_digest(entry.path), run_digest(again.path)
    if digests[0] == digests[1]:
        return Agreement(digests[1], True, 0.0, 1.0)
    first, second = entry.tables, again.tables
    gaps: list[float] = []
    ones, twos = [], []
    for split, table in first.items():
        other = second.get(split)
        if other is None or other.mask_ids != table.mask_ids or other.levels != table.levels:
            raise UsageError(f"{again.path} has other masks or levels than the entry in split {split}")
        one, two = table.values["dice"][:, :, -1], other.values["dice"][:, :, -1]
        gaps.append(float(np.abs(one.mean(axis=0) - two.mean(axis=0)).max()))
        ones.append(one.ravel())
        twos.append(two.ravel())
    left, right = np.concatenate(ones), np.concatenate(twos)
    spread = np.ptp(left) > 0 and np.ptp(right) > 0
    correlation = float(np.corrcoef(left, right)[0, 1]) if spread else float(np.array_equal(left, right))
    return Agreement(digests[1], False, max(gaps), correlation)
