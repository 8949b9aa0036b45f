"""Vector pictures for pages: curves with bands, histograms, interval strips as inline SVG; a heat map as an HTML table.

The texts stand in a page whose content-security policy may forbid style attributes, so colours come from
presentation attributes that :data:`FIGURE_CSS` overrides by class in the page's light or dark colours; axes and text
take ``currentColor``. Every given text is escaped. Tooltips are ``<title>`` elements and need no script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from dmseg.figures.colours import LIGHT_SERIES, MARKERS, OKABE_ITO

N_COLOURS = len(LIGHT_SERIES)
HEAT_STEPS = 10
_CHARACTER = 7.0  # generous mean advance of a 12-pixel sans serif, pixels
_LEGEND_ROW = 18


def _series_css(black: str) -> str:
    """Return the variables of the series: the same colours in light and dark, but for black, which would sink."""
    codes = [black if name == "black" else OKABE_ITO[name] for name in LIGHT_SERIES]
    return "".join(f"--s{i}:{code};" for i, code in enumerate(codes))


def _heat_css() -> str:
    return "".join(
        f".heat .h{i}{{background:color-mix(in srgb,var(--heat) calc({i}*var(--heat-step)),transparent)}}"
        for i in range(HEAT_STEPS + 1)
    )


# The strongest heat cell still leaves a contrast of 4.5:1 to the page's text: 80 % blue on white, 60 % sky on dark.
_LIGHT_CSS = f":root{{{_series_css('#000000')}--heat:{OKABE_ITO['blue']};--heat-step:8%}}"
_DARK_CSS = f":root{{{_series_css('#e9e9ee')}--heat:{OKABE_ITO['sky']};--heat-step:5.5%}}"
FIGURE_CSS: str = (
    f"{_LIGHT_CSS}@media (prefers-color-scheme:dark){{{_DARK_CSS}}}@media print{{{_LIGHT_CSS}}}"
    + "".join(
        f".s{i} .line,.s{i} .open{{stroke:var(--s{i})}}.s{i} .band,.s{i} .mark{{fill:var(--s{i})}}"
        for i in range(N_COLOURS)
    )
    + "svg.figure{width:100%;max-width:600px;height:auto;display:block;font-family:inherit}"
    ".heat th[scope=row]{text-align:left}.heat td{text-align:right;font-variant-numeric:tabular-nums}" + _heat_css()
)


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: ``y`` over ``x``, NaN where there is no value, and optionally a band ``low``..``high`` around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plotting area in the picture and the values at its edges."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    parts: list[str] = field(default_factory=list)

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (min(max(value, low), high) - low) / (high - low) * (self.bottom - self.top)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers (1, 2, 2.5 or 5 times a power of ten apart) that enclose low..high.

    >>> nice_ticks(0.61, 0.93)
    [0.6, 0.7, 0.8, 0.9, 1.0]
    """
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / max(1, about - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def curve_svg(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    y_range: tuple[float, float] | None = None,
    width: int = 440,
    height: int = 280,
    legend: bool = True,
    digits: int = 3,
) -> str:
    """Draw curves with markers, confidence bands and tooltips.

    Args:
        series: at most a dozen stay readable; colour and marker follow the position, so filtered pages keep them.
        x_ticks: positions and their labels (levels, steps); None chooses round numbers.
        y_range: fixed axis; None encloses curves and bands.
        legend: draw the names above the curves (a page with toggles of its own leaves it out).
        digits: decimals in the tooltips.

    Returns:
        An ``<svg class="figure">`` element with one ``<g class="series sI" data-series="name">`` per curve.
    """
    legend_rows = _legend_rows([item.name for item in series], width) if legend and len(series) > 1 else []
    y_ticks = nice_ticks(*(y_range or _y_extent(series)))
    frame = _Frame(
        left=52,
        top=24 + _LEGEND_ROW * len(legend_rows),
        right=width - 14,
        bottom=height - 42,
        x_range=_x_range(series, x_ticks),
        y_range=y_range or (y_ticks[0], y_ticks[-1]),
    )
    ticks_x = x_ticks if x_ticks is not None else [(v, f"{v:g}") for v in nice_ticks(*frame.x_range)]
    _axes(frame, x_label, y_label, ticks_x, y_ticks)
    _draw_legend(frame, legend_rows)
    for index, item in enumerate(series):
        frame.parts.append(_curve(frame, item, index, dict(ticks_x), digits))
    return _figure(frame.parts, title, width, height)


def histogram_svg(
    values: Sequence[float],
    *,
    title: str,
    x_label: str,
    y_label: str = "masks",
    bins: int = 20,
    value_range: tuple[float, float] = (0.0, 1.0),
    width: int = 440,
    height: int = 240,
) -> str:
    """Draw how often values fall into equal bins of ``value_range``; values outside count in the outermost bins."""
    finite = np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64)
    counts, edges = np.histogram(np.clip(finite, *value_range), bins=bins, range=value_range)
    y_ticks = nice_ticks(0, max(1, int(counts.max(initial=0))))
    frame = _Frame(52, 24, width - 14, height - 42, value_range, (0.0, y_ticks[-1]))
    _axes(frame, x_label, y_label, [(v, f"{v:g}") for v in nice_ticks(*value_range)], y_ticks)
    bars = []
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        y = frame.y(float(count))
        bars.append(
            f'<rect class="mark" fill="{_light(0)}" x="{frame.x(low) + 0.75:.1f}" y="{y:.1f}" '
            f'width="{frame.x(high) - frame.x(low) - 1.5:.1f}" height="{frame.bottom - y:.1f}">'
            f"<title>{low:g} to {high:g}: {count}</title></rect>"
        )
    frame.parts.append(f'<g class="s0">{"".join(bars)}</g>')
    return _figure(frame.parts, title, width, height)


def interval_svg(
    rows: Sequence[tuple[str, float, float, float]],
    *,
    title: str,
    x_label: str,
    x_range: tuple[float, float] | None = None,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    width: int = 640,
    digits: int = 3,
) -> str:
    """Draw one horizontal interval with its point per row: ``(name, low, point, high)``, best on top."""
    ends = [value for row in rows for value in (row[1], row[3]) if math.isfinite(value)]
    ticks = nice_ticks(*(x_range or (min(ends, default=0.0), max(ends, default=1.0))))
    x_range = x_range or (ticks[0], ticks[-1])
    shown = [name if len(name) <= 26 else name[:25] + "…" for name, *_ in rows]
    left = min(212.0, 16 + _CHARACTER * max((len(name) for name in shown), default=0))
    step, top = 24, 14
    height = top + step * len(rows) + 44
    frame = _Frame(left, top, width - 16, top + step * len(rows), x_range, (0.0, 1.0))
    ticks_x = x_ticks if x_ticks is not None else [(v, f"{v:g}") for v in ticks]
    _vertical_grid(frame, ticks_x)
    frame.parts.append(_text((frame.left + frame.right) / 2, height - 8, x_label, "middle"))
    for index, (name, low, point, high) in enumerate(rows):
        y = top + step * (index + 0.5)
        tip = f"{name}: {point:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        frame.parts.append(
            f'<g class="series s0" data-series="{escape(name)}"><title>{escape(tip)}</title>'
            + _text(left - 8, y + 4, shown[index], "end")
            + f'<line class="line" stroke="{_light(0)}" stroke-width="5" stroke-opacity="0.45" stroke-linecap="round" '
            f'x1="{frame.x(low):.1f}" x2="{frame.x(high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle class="mark" fill="{_light(0)}" cx="{frame.x(point):.1f}" cy="{y:.1f}" r="4.5"/></g>'
        )
    return _figure(frame.parts, title, width, height)


def heat_table(
    row_names: Sequence[str],
    column_names: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    caption: str,
    corner: str,
    value_range: tuple[float, float] | None = None,
    digits: int = 3,
    row_data: Sequence[tuple[str, str]] | None = None,
) -> str:
    """Return an HTML table whose cells are shaded by value: strongest at the top of ``value_range``, NaN is a dash.

    ``row_data`` gives each row a ``data-`` attribute (name, value) for a page's script.
    """
    finite = [value for row in values for value in row if math.isfinite(value)]
    low, high = value_range or (min(finite, default=0.0), max(finite, default=1.0))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in column_names)
    body = []
    for i, (name, row) in enumerate(zip(row_names, values, strict=True)):
        cells = "".join(_heat_cell(value, low, high, digits) for value in row)
        data = f' data-{row_data[i][0]}="{escape(row_data[i][1])}"' if row_data else ""
        body.append(f'<tr{data}><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<table class="heat"><caption>{escape(caption)}</caption>'
        f'<thead><tr><th scope="col">{escape(corner)}</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    )


def _heat_cell(value: float, low: float, high: float, digits: int) -> str:
    if not math.isfinite(value):
        return "<td>–</td>"
    share = (value - low) / (high - low) if high > low else 1.0
    return f'<td class="h{round(min(max(share, 0.0), 1.0) * HEAT_STEPS)}">{value:.{digits}f}</td>'


def _light(index: int) -> str:
    return OKABE_ITO[LIGHT_SERIES[index % N_COLOURS]]


def _x_range(series: Sequence[Series], ticks: Sequence[tuple[float, str]] | None) -> tuple[float, float]:
    values = [float(x) for item in series for x in item.x] + [x for x, _ in ticks or ()]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = (high - low) * 0.04 or 0.5
    return low - margin, high + margin


def _y_extent(series: Sequence[Series]) -> tuple[float, float]:
    values = [
        float(v) for item in series for line in (item.y, item.low, item.high) for v in line or () if math.isfinite(v)
    ]
    return min(values, default=0.0), max(values, default=1.0)


def _text(x: float, y: float, text: str, anchor: str, size: int = 12, extra: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="currentColor"{extra}>'
        f"{escape(text)}</text>"
    )


def _figure(parts: Sequence[str], title: str, width: int, height: float) -> str:
    return (
        f'<svg class="figure" role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height:g}" width="{width}" '
        f'height="{height:g}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _vertical_grid(frame: _Frame, ticks: Sequence[tuple[float, str]]) -> None:
    for value, label in ticks:
        x = frame.x(value)
        frame.parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top:.1f}" y2="{frame.bottom:.1f}" stroke="currentColor" '
            'stroke-opacity="0.12"/>' + _text(x, frame.bottom + 16, label, "middle")
        )


def _axes(
    frame: _Frame, x_label: str, y_label: str, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[float]
) -> None:
    for value in y_ticks:
        if not frame.y_range[0] - 1e-9 <= value <= frame.y_range[1] + 1e-9:
            continue
        y = frame.y(value)
        frame.parts.append(
            f'<line x1="{frame.left:.1f}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" '
            'stroke-opacity="0.15"/>' + _text(frame.left - 7, y + 4, f"{value:g}", "end")
        )
    for value, label in x_ticks:
        frame.parts.append(_text(frame.x(value), frame.bottom + 17, label, "middle"))
    frame.parts.append(_text((frame.left + frame.right) / 2, frame.bottom + 36, x_label, "middle"))
    frame.parts.append(_text(8, 13, y_label, "start"))


def _legend_rows(names: Sequence[str], width: float) -> list[list[tuple[float, int, str]]]:
    """Place the names left to right, breaking lines: per row the (x, index, name) of its entries."""
    rows: list[list[tuple[float, int, str]]] = [[]]
    x = 56.0
    for index, name in enumerate(names):
        extent = 26 + _CHARACTER * len(name)
        if rows[-1] and x + extent > width:
            rows.append([])
            x = 56.0
        rows[-1].append((x, index, name))
        x += extent
    return rows


def _draw_legend(frame: _Frame, rows: Sequence[Sequence[tuple[float, int, str]]]) -> None:
    for r, row in enumerate(rows):
        y = 28.0 + _LEGEND_ROW * r
        for x, index, name in row:
            frame.parts.append(
                f'<g class="s{index % N_COLOURS}">{_marker(index, x, y)}{_text(x + 9, y + 4, name, "start")}</g>'
            )


def _curve(frame: _Frame, item: Series, index: int, tick_names: dict[float, str], digits: int) -> str:
    """Return the group of one curve: band, line, one marker with a tooltip per value."""
    points = [(float(x), float(y)) for x, y in zip(item.x, item.y, strict=True)]
    colour = _light(index)
    parts = []
    if item.low is not None and item.high is not None:
        edge = [(x, low, high) for (x, _), low, high in zip(points, item.low, item.high, strict=True)]
        edge = [row for row in edge if math.isfinite(row[1]) and math.isfinite(row[2])]
        outline = [(x, high) for x, _, high in edge] + [(x, low) for x, low, _ in reversed(edge)]
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in outline)
        parts.append(f'<polygon class="band" points="{path}" fill="{colour}" fill-opacity="0.16"/>')
    for run in _finite_runs(points):
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in run)
        parts.append(f'<polyline class="line" points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for i, (x, y) in enumerate(points):
        if math.isfinite(y):
            tip = f"{item.name}, {tick_names.get(x, f'{x:g}')}: {y:.{digits}f}"
            if item.low is not None and item.high is not None and math.isfinite(item.low[i]):
                tip += f" [{item.low[i]:.{digits}f}, {item.high[i]:.{digits}f}]"
            parts.append(_marker(index, frame.x(x), frame.y(y), tip))
    return f'<g class="series s{index % N_COLOURS}" data-series="{escape(item.name)}">{"".join(parts)}</g>'


def _finite_runs(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def marker_icon(index: int) -> str:
    """Return the sign of series ``index`` as a small picture of its own, for legends outside of a figure."""
    drawn = _marker(index, 7, 7)
    return f'<svg class="s{index % N_COLOURS}" viewBox="0 0 14 14" aria-hidden="true">{drawn}</svg>'


def _marker(index: int, x: float, y: float, tip: str = "") -> str:
    """Return the marker of series ``index`` centred at (x, y); the marker shifts when the colours start over."""
    shape = MARKERS[(index + index // N_COLOURS) % len(MARKERS)]
    colour = _light(index)
    title = f"<title>{escape(tip)}</title>" if tip else ""
    if shape == "circle":
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{title}</circle>'
    if shape in ("cross", "plus"):
        d = 3.6
        lines = (
            f"M{x - d:.1f} {y - d:.1f}L{x + d:.1f} {y + d:.1f}M{x - d:.1f} {y + d:.1f}L{x + d:.1f} {y - d:.1f}"
            if shape == "cross"
            else f"M{x - d - 1:.1f} {y:.1f}H{x + d + 1:.1f}M{x:.1f} {y - d - 1:.1f}V{y + d + 1:.1f}"
        )
        return f'<path class="open" d="{lines}" fill="none" stroke="{colour}" stroke-width="2.4">{title}</path>'
    corners = {
        "square": ((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)),
        "triangle": ((0, -4.8), (4.6, 3.6), (-4.6, 3.6)),
        "diamond": ((0, -5.2), (4.8, 0), (0, 5.2), (-4.8, 0)),
        "down": ((0, 4.8), (4.6, -3.6), (-4.6, -3.6)),
    }[shape]
    path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark" points="{path}" fill="{colour}">{title}</polygon>'
