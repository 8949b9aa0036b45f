"""Tables as text: Markdown, LaTeX and CSV, and the paper's layout."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dmseg.results.expressions import ALL_PLACES, TEXT_METRICS
from dmseg.results.grouping import GroupDrop, find_hardest
from dmseg.results.summary import SplitNumbers, SummaryBlock
from dmseg.statistics import Estimate
from dmseg.types import ALL_LEVELS, LEVEL_LABELS

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
        if min(numbers.failures[target]) == len(numbers.table.mask_ids):
            continue  # no mask ever reaches it: T everywhere says nothing
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
    tables = [*([text_table(model, numbers)] if numbers.text else []), *tables]
    return [*tables, *([drop] if drop else []), *([clicks_table(numbers)] if numbers.table.steps > 1 else [])]


def screen_table(model: str, numbers: SplitNumbers) -> TextTable:
    """Return what of a split fits a screen: each metric after the last step, the drop, and what reaches IoU 90 %."""
    block, levels = numbers.blocks[0], numbers.table.levels[:0:-1]
    rows = [(row.label, *(f"{cell.value:.1f}" for cell in row.cells)) for row in block.rows]
    dice = next(row for row in block.rows if row.metric == "dice").cells
    rows.insert(1, ("  95 %", *(f"{cell.low:.1f}–{cell.high:.1f}" if cell.has_interval else "–" for cell in dice)))
    if numbers.drop:
        rows.append(("Dice lost", *(interval(cell) for cell in numbers.drop), *[""] * (len(dice) - len(levels))))
    if numbers.table.steps > 1 and min(numbers.never) < 100:
        noc = [f"{cell.value:.1f}" for cell in numbers.noc[::-1]]
        rows.append(("NoC@90", *noc, *[""] * (len(dice) - len(noc))))
    title = f"{model}, {numbers.table.split}: after step {numbers.table.steps}, mean over datasets"
    return TextTable(title, ("", *numbers.columns), tuple(rows))


def text_table(model: str, numbers: SplitNumbers) -> TextTable:
    """Return cIoU and gIoU of a run whose preset gives sentences: all datasets, then each list of each."""
    rows = [
        (f"{row.place} {TEXT_METRICS[row.metric]}", str(row.cells[0].n), *(interval(cell) for cell in row.cells))
        for row in numbers.text
    ]
    title = f"{model}, {numbers.table.split}: a sentence each; {ALL_PLACES}: mean over datasets"
    return TextTable(title, ("", "sentences", *numbers.columns), tuple(rows))


def groups_table(metric: str, drops: Sequence[GroupDrop]) -> TextTable:
    """Return the drops of one split of a run: a line per group, a column per level, hardest first."""
    levels = list(dict.fromkeys(drop.level for drop in drops))
    levels = sorted(levels, key=ALL_LEVELS.index, reverse=True)
    cells = {(drop.group, drop.level): drop for drop in drops}
    has_added = any(drop.added is not None for drop in drops)
    hardest = {drop.group: drop for drop in find_hardest(drops)}
    rows = []
    for group in dict.fromkeys(drop.group for drop in drops):
        own = [cells.get((group, level)) for level in levels]
        number = max(drop.drop.n for drop in own if drop is not None)
        texts = ["–" if drop is None else interval(drop.drop) for drop in own]
        added = hardest[group].added
        rows.append((group, str(number), *texts, *(["–" if added is None else interval(added)] if has_added else [])))
    split, grouping = (drops[0].split, drops[0].grouping) if drops else ("", "")
    title = f"{split}: {metric} lost from Clear, by {grouping}, paired, mean over datasets"
    header = ("", "masks", *(LEVEL_LABELS[level] for level in levels), *(["added"] if has_added else []))
    return TextTable(title, header, tuple(rows))


def models_groups_table(metric: str, names: Sequence[str], drops: Sequence[Sequence[GroupDrop]]) -> TextTable:
    """Return the drops of one split of several runs: a line per group at its hardest level, a column per model."""
    own = [{drop.group: drop for drop in find_hardest(one)} for one in drops]
    rows = []
    for group, drop in own[0].items():
        texts = [interval(one[group].drop) if group in one else "–" for one in own]
        rows.append((group, LEVEL_LABELS[drop.level], str(drop.drop.n), *texts))
    split, grouping = (drops[0][0].split, drops[0][0].grouping) if drops[0] else ("", "")
    title = f"{split}: {metric} lost from Clear, by {grouping}, paired, mean over datasets"
    return TextTable(title, ("", "level", "masks", *names), tuple(rows))


def groups_csv(metric: str, drops: Sequence[tuple[str, Sequence[GroupDrop]]]) -> str:
    """Return one row per model, split, group and level."""
    header = ("model", "split", "by", "group", "level", "metric", "clear", "value", "drop", "low", "high", "masks",
              "cases", "added", "added_low", "added_high")  # fmt: skip
    rows = [
        (model, drop.split, drop.grouping, drop.group, drop.level, metric, round(drop.clear, 6), round(drop.value, 6),
         *list_fields(drop.drop), *(("", "", "") if drop.added is None else list_fields(drop.added)[:3]))
        for model, own in drops
        for drop in own
    ]  # fmt: skip
    return csv_text(header, rows)


def interval(estimate: Estimate) -> str:
    """Return ``81.2 [79.0, 83.1]``; ``81.2 [–]`` where one case per dataset leaves no spread to tell."""
    if not estimate.has_interval:
        return f"{estimate.value:.1f} [–]"
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
                    (*place, block.over, block.average, row.metric, column, *list_fields(cell))
                    for column, cell in zip(columns, row.cells, strict=True)
                ]
        for column, cell in zip(columns[:-2], numbers.drop, strict=False):
            rows.append((*place, "final", "macro", "dice_drop", column, *list_fields(cell)))
        for target, estimates in numbers.clicks.items():
            for level, cell in zip(numbers.table.levels, estimates, strict=True):
                rows.append((*place, "final", "macro", f"noc{target * 100:.0f}", level, *list_fields(cell)))
        for line in numbers.text:
            if line.place == ALL_PLACES:
                rows += [
                    (*place, "final", "macro", line.metric, column, *list_fields(cell))
                    for column, cell in zip(columns, line.cells, strict=True)
                ]
    header = ("model", "split", "over", "average", "metric", "level", "value", "low", "high", "masks", "cases")
    return csv_text(header, rows)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as CSV with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def list_fields(cell: Estimate) -> tuple[Any, ...]:
    """Return value, interval (empty where it says nothing), masks and cases."""
    bounds = (round(cell.low, 6), round(cell.high, 6)) if cell.has_interval else ("", "")
    return round(cell.value, 6), *bounds, cell.n, cell.cases
