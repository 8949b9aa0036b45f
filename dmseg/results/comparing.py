"""Two runs compared object by object: paired differences with intervals clustered by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmseg.errors import UsageError, unknown_name
from dmseg.results.cases import METRICS, CaseTable, read_case_tables
from dmseg.results.grouping import read_mask_facts
from dmseg.results.runs import Run
from dmseg.statistics import Estimate
from dmseg.types import SPLITS

GROUPINGS: tuple[str, ...] = ("level", "dataset", "modality", "structure", "size")


@dataclass(frozen=True, slots=True)
class RunDifference:
    """How much better or worse the second run is on one group of objects.

    Attributes:
        split, grouping, group: which objects: ``("seen", "level", "lq3")``.
        first, second: mean of either run, shares in per cent.
        difference: second - first, paired, with its interval.
    """

    split: str
    grouping: str
    group: str
    first: float
    second: float
    difference: Estimate

    @property
    def verdict(self) -> str:
        """``+`` or ``-`` where the interval does not hold zero, ``=`` where it does, ``?`` where there is no spread."""
        if self.difference.low == self.difference.high != 0:
            return "?"  # one case per dataset: nothing says how much the difference would vary
        if self.difference.low > 0:
            return "+"
        return "-" if self.difference.high < 0 else "="


def compare(first: Run, second: Run, metric: str = "dice", *, splits: Sequence[str] = SPLITS) -> list[RunDifference]:
    """Return the differences after the last step: per level; over all levels per dataset, modality, structure, size.

    Args:
        first, second: finished runs of one protocol on one benchmark.
        metric: a metric column of steps.parquet; of ``hd95`` a negative difference is the better one.
        splits: only objects of these.

    Raises:
        UsageError: an unknown metric, or runs whose rows do not pair; the message says in what they differ.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    tables = [read_case_tables(run.path / "steps.parquet", (metric,)) for run in (first, second)]
    mine, theirs = ({split: table for split, table in one.items() if split in splits} for one in tables)
    require_pair(first, second, mine, theirs)
    groups = read_mask_facts(first)
    found: list[RunDifference] = []
    for split, table in mine.items():
        found += _split_differences(table, theirs[split], groups, metric)
    return found


def require_pair(
    first: Run, second: Run, first_tables: Mapping[str, CaseTable], second_tables: Mapping[str, CaseTable]
) -> None:
    """Refuse two runs whose rows do not pair: another protocol, benchmark or metric setting, or other objects.

    Args:
        first_tables, second_tables: their rows by split, of the splits that are compared.

    Raises:
        UsageError: says in what they differ.
    """
    wanted = [("protocol", key) for key in ("id", "preset", "corrective", "steps", "seed")]
    wanted += [("benchmark", "manifest_digest"), *(("metrics", key) for key in ("grid", "boundary", "hd95"))]
    for part, key in wanted:
        one, other = first.info[part].get(key), second.info[part].get(key)
        if one != other:
            raise UsageError(
                f"the runs do not pair: {part}.{key} is {one} in {first.path} and {other} in {second.path}"
            )
    both = sum(_count_shared(table, second_tables.get(split)) for split, table in first_tables.items())
    own, other = (sum(table.failed.size for table in one.values()) - both for one in (first_tables, second_tables))
    if own or other:
        raise UsageError(
            f"the runs do not pair: {own} rows are only in {first.path}, {other} only in {second.path}; "
            "use the same --split, --levels and --limit"
        )


def _count_shared(table: CaseTable, other: CaseTable | None) -> int:
    """Return how many (mask, level, step) two tables of one split share; each has all of its own masks and levels."""
    if other is None:
        return 0
    masks = len(set(table.mask_ids) & set(other.mask_ids))
    return masks * len(set(table.levels) & set(other.levels)) * min(table.steps, other.steps)


def _split_differences(table: CaseTable, other: CaseTable, groups: pd.DataFrame, metric: str) -> list[RunDifference]:
    one, two = (run.scale(metric)[:, :, -1] for run in (table, other))
    rows = [
        _difference(table, "level", level, one[:, place], two[:, place], np.ones(len(one), dtype=bool))
        for place, level in enumerate(table.levels)
    ]
    mean_one, mean_two = one.mean(axis=1), two.mean(axis=1)
    ordered = groups.loc[list(table.mask_ids)]
    owners = {
        "dataset": np.array(table.datasets),
        "modality": np.array(table.modalities),
        "structure": ordered["structure"].to_numpy(dtype=str),
        "size": ordered["size"].to_numpy(dtype=str),
    }
    rows.append(_difference(table, "level", "average", mean_one, mean_two, np.ones(len(one), dtype=bool)))
    for grouping, owner in owners.items():
        for group in np.unique(owner):
            rows.append(_difference(table, grouping, str(group), mean_one, mean_two, owner == group))
    return rows


def _difference(
    table: CaseTable,
    grouping: str,
    group: str,
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> RunDifference:
    places = np.flatnonzero(inside)
    columns = np.column_stack([one[places], two[places], two[places] - one[places]])
    first, second, difference = table.bootstrap_rows(places).estimates(columns)
    return RunDifference(table.split, grouping, group, first.value, second.value, difference)
