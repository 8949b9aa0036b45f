"""Vector pictures are well-formed, escaped, free of style attributes and scripts, and put values where the axes say."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ElementTree

import pytest

from dmseg.figures import FIGURE_CSS, Series, curve_svg, heat_table, histogram_svg, interval_svg
from dmseg.figures.svg import N_COLOURS, _marker, nice_ticks

NS = "{http://www.w3.org/2000/svg}"
EVIL = '"><script>alert(1)</script>&'
LEVELS = [(0.0, "Clear"), (1.0, "LQ-1"), (2.0, "LQ-2")]


def _parse(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert not any("style" in element.attrib or element.tag == f"{NS}script" for element in root.iter())
    return root


def _curves(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [element for element in root.iter(f"{NS}g") if element.get("data-series") is not None]


@pytest.mark.parametrize(
    "svg",
    [
        curve_svg([Series(EVIL, [0, 1], [0.1, 0.2])] * 2, title=EVIL, x_label=EVIL, y_label=EVIL),
        histogram_svg([0.1, 0.5], title=EVIL, x_label=EVIL, y_label=EVIL),
        interval_svg([(EVIL, 1, 2, 3)], title=EVIL, x_label=EVIL),
        heat_table([EVIL], [EVIL], [[0.5]], caption=EVIL, corner=EVIL),
    ],
)
def test_given_texts_are_escaped(svg: str) -> None:
    assert "<script" not in svg
    _parse(svg)


def test_values_stand_where_the_axis_says() -> None:
    svg = curve_svg([Series("a", [0, 1, 2], [0.0, 0.5, 1.0])], title="t", x_label="", y_label="", y_range=(0, 1))
    ys = [float(mark.get("cy", "nan")) for mark in _curves(_parse(svg))[0].iter(f"{NS}circle")]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11) and ys[0] > ys[2]
    ticks = {text.text: float(text.get("y", "nan")) - 4 for text in _parse(svg).iter(f"{NS}text")}
    assert (ys[1] + ys[2]) / 2 == pytest.approx(ticks["0.75"], abs=0.11)


def test_the_highest_tick_is_the_top_of_the_axis() -> None:
    """Ticks chosen for the data and ticks drawn on the axis are the same, so no value floats above the last label."""
    svg = curve_svg(
        [Series("a", [0, 1], [47.0, 81.0])], title="t", x_label="", y_label="", x_ticks=[(0, "a"), (1, "b")]
    )
    labels = [float(text.text or "") for text in _parse(svg).iter(f"{NS}text") if (text.text or "").isdigit()]
    assert labels == [40, 50, 60, 70, 80, 90]


def test_tooltips_name_series_tick_value_and_band() -> None:
    series = Series("watershed", [0, 1], [0.9, 0.8], [0.85, math.nan], [0.95, math.nan])
    svg = curve_svg([series], title="t", x_label="level", y_label="Dice", x_ticks=LEVELS)
    titles = [element.text for element in _parse(svg).iter(f"{NS}title")]
    assert titles == ["watershed, Clear: 0.900 [0.850, 0.950]", "watershed, LQ-1: 0.800"]


def test_a_missing_value_breaks_the_line_and_has_no_marker() -> None:
    svg = curve_svg([Series("a", range(5), [1, 0.9, math.nan, 0.7, 0.6])], title="t", x_label="", y_label="")
    curve = _curves(_parse(svg))[0]
    assert len(list(curve.iter(f"{NS}polyline"))) == 2 and len(list(curve.iter(f"{NS}circle"))) == 4


def test_series_beyond_the_palette_differ_by_marker() -> None:
    many = [Series(str(i), [0, 1], [0.1 * i, 0.2]) for i in range(2 * N_COLOURS)]
    curves = _curves(_parse(curve_svg(many, title="t", x_label="", y_label="")))
    for i in range(N_COLOURS):
        assert curves[i].get("class") == curves[i + N_COLOURS].get("class")
        assert _marker(i, 0, 0) != _marker(i + N_COLOURS, 0, 0)
    assert len({_marker(i, 0, 0) for i in range(2 * N_COLOURS)}) == 2 * N_COLOURS


def test_every_series_class_has_a_colour_in_the_sheet() -> None:
    for i in range(N_COLOURS):
        assert f".s{i} .line" in FIGURE_CSS and FIGURE_CSS.count(f"--s{i}:") == 3


def test_histogram_counts_every_finite_value_once() -> None:
    svg = histogram_svg([-1, 0, 0.05, 0.5, 1, 2, math.nan, math.inf], title="t", x_label="Dice", bins=10)
    titles = [element.text or "" for element in _parse(svg).iter(f"{NS}title")]
    assert len(titles) == 10 and sum(int(text.split(": ")[1]) for text in titles) == 6
    assert titles[0].endswith(": 3") and titles[-1].endswith(": 2")


def test_empty_input_still_draws_axes() -> None:
    for svg in (
        curve_svg([], title="t", x_label="", y_label=""),
        histogram_svg([], title="t", x_label=""),
        interval_svg([], title="t", x_label=""),
    ):
        assert len(list(_parse(svg).iter(f"{NS}line"))) > 2


def test_interval_spans_low_to_high() -> None:
    svg = interval_svg([("a", 1, 2, 4)], title="t", x_label="rank", x_range=(1, 5))
    group = _curves(_parse(svg))[0]
    line, point = next(group.iter(f"{NS}line")), next(group.iter(f"{NS}circle"))
    low, high, x = float(line.get("x1", 0)), float(line.get("x2", 0)), float(point.get("cx", 0))
    assert (x - low) / (high - low) == pytest.approx(1 / 3, abs=0.01)


def test_heat_shades_by_value_and_marks_missing() -> None:
    table = ElementTree.fromstring(
        heat_table(["a"], ["x", "y", "z"], [[0.0, 1.0, math.nan]], caption="c", corner="k", value_range=(0, 1))
    )
    assert [(cell.get("class"), cell.text) for cell in table.iter("td")] == [
        ("h0", "0.000"),
        ("h10", "1.000"),
        (None, "–"),
    ]
    assert [head.get("scope") for head in table.iter("th")] == ["col"] * 4 + ["row"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.61, 0.93), (-3, 1000), (5, 5), (1e-6, 2e-6)])
def test_ticks_are_even_and_enclose(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    gaps = [b - a for a, b in itertools.pairwise(ticks)]
    assert ticks[0] <= low and ticks[-1] >= high and max(gaps) - min(gaps) < 1e-9 and 2 <= len(ticks) <= 8
