"""Tables as text: Markdown, LaTeX and CSV, and the paper's layout."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dmseg.results.summary import SplitNumbers, SummaryBlock
from dmseg.statistics import Estimate
from dmseg.types import LEVEL_LABELS

FORMATS: tuple[str, ...] = ("markdown", "latex", "csv")
_TEX = str.maketrans(
    {**{mark: f"\\{mark}" for mark in "&%_#${}"}, "^": r"\^{}", "~": r"\~{}", "\\": r"\textbackslash{}"}
)


def escape_tex(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return text.translate(_TEX)


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of texts: the first column names the rows, the others hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return a GitHub table with aligned columns."""
        widths = [max(len(row[place]) for row in (self.header, *self.rows)) for place in range(len(self.header))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

        def line(cells: Sequence[str]) -> str:
            first = cells[0].ljust(widths[0])
            return "| " + " | ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]) + " |"

        return "\n".join([f"**{self.title}**", "", line(self.header), line(rule), *map(line, self.rows)])

    def latex(self) -> str:
        """Return a booktabs table."""

        def line(cells: Sequence[str]) -> str:
            return " & ".join(escape_tex(cell) for cell in cells) + r" \\"

        columns = "l" + "r" * (len(self.header) - 1)
        body = [r"\toprule", line(self.header), r"\midrule", *map(line, self.rows), r"\bottomrule"]
        inner = "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"])
        caption = rf"\caption{{{escape_tex(self.title)}}}"
        return "\n".join([r"\begin{table}", r"\centering", caption, inner, r"\end{table}"])


def paper_table(model: str, numbers: SplitNumbers) -> TextTable:
    """Return the layout of the paper's tables: IoU and Dice per level, hardest first, then the average; per cent.

    The paper does not say what it averages over; there is one row for the mean over datasets and one over masks.
    """
    finals = [block for block in numbers.blocks if block.over == "final"]
    header = tuple(f"{column} {metric}" for column in numbers.columns for metric in ("IoU", "Dice"))
    rows = []
    for block in finals:
        cells = {row.metric: row.cells for row in block.rows}
        pairs = zip(cells["iou"], cells["dice"], strict=True)
        over = "over datasets" if block.average == "macro" else "over masks"
        rows.append((f"{model}, mean {over}", *(f"{value.value:.2f}" for pair in pairs for value in pair)))
    title = f"{numbers.table.split}, after step {numbers.table.steps}: layout of the paper"
    return TextTable(title, ("Method", *header), tuple(rows))


def block_table(numbers: SplitNumbers, block: SummaryBlock) -> TextTable:
    """Return one block with its intervals."""
    rows = tuple((row.label, *(interval(cell) for cell in row.cells)) for row in block.rows)
    return TextTable(f"{numbers.table.split}: {block.title}", ("", *numbers.columns), rows)


def clicks_table(numbers: SplitNumbers) -> TextTable:
    """Return NoC and NoF per IoU target and level, hardest level first."""
    levels = [LEVEL_LABELS[level] for level in numbers.table.levels[::-1]]
    rows = []
    for target, estimates in numbers.clicks.items():
        rows.append((f"NoC@{target * 100:.0f}", *(interval(cell) for cell in estimates[::-1])))
        rows.append((f"NoF@{target * 100:.0f}", *(str(number) for number in numbers.failures[target][::-1])))
    n = len(numbers.table.mask_ids)
    title = f"{numbers.table.split}: interactions to reach an IoU (of {n} masks; T where never: counted by NoF)"
    return TextTable(title, ("", *levels), tuple(rows))


def drop_table(numbers: SplitNumbers) -> TextTable | None:
    """Return Dice at Clear minus Dice at each other level, paired; None where there is nothing to compare."""
    if not numbers.drop:
        return None
    levels = [LEVEL_LABELS[level] for level in numbers.table.levels[:0:-1]]
    title = f"{numbers.table.split}: drop of the final Dice from Clear, mean over datasets"
    return TextTable(title, ("", *levels), (("drop", *(interval(cell) for cell in numbers.drop)),))


def summary_tables(model: str, numbers: SplitNumbers) -> list[TextTable]:
    """Return all tables of one split."""
    blocks = [*numbers.blocks, *([numbers.areas] if numbers.areas else [])]
    tables = [paper_table(model, numbers), *(block_table(numbers, block) for block in blocks)]
    drop = drop_table(numbers)
    return [*tables, *([drop] if drop else []), *([clicks_table(numbers)] if numbers.table.steps > 1 else [])]


def interval(estimate: Estimate) -> str:
    """Return ``81.2 [79.0, 83.1]``; without brackets where one case per dataset leaves no spread to tell."""
    if estimate.low == estimate.high:
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def long_csv(model: str, splits: Sequence[SplitNumbers]) -> str:
    """Return every number of a summary as one row: for spreadsheets and plots."""
    rows: list[tuple[Any, ...]] = []
    for numbers in splits:
        place = (model, numbers.table.split)
        columns = (*numbers.table.levels[::-1], "average")
        for block in [*numbers.blocks, *([numbers.areas] if numbers.areas else [])]:
            for row in block.rows:
                rows += [
                    (*place, block.over, block.average, row.metric, column, *_fields(cell))
                    for column, cell in zip(columns, row.cells, strict=True)
                ]
        for column, cell in zip(columns[:-2], numbers.drop, strict=False):
            rows.append((*place, "final", "macro", "dice_drop", column, *_fields(cell)))
        for target, estimates in numbers.clicks.items():
            for level, cell in zip(numbers.table.levels, estimates, strict=True):
                rows.append((*place, "final", "macro", f"noc{target * 100:.0f}", level, *_fields(cell)))
    header = ("model", "split", "over", "average", "metric", "level", "value", "low", "high", "masks", "cases")
    return csv_text(header, rows)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as CSV with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _fields(cell: Estimate) -> tuple[Any, ...]:
    return round(cell.value, 6), round(cell.low, 6), round(cell.high, 6), cell.n, cell.cases
