"""The palette of Okabe and Ito, "Color Universal Design" (2008), and the order in which series use it."""

from __future__ import annotations

OKABE_ITO: dict[str, str] = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}

# Series take colours that stand out by 3:1 on a white and on a dark page alike; black turns to the page's ink there.
LIGHT_SERIES: tuple[str, ...] = ("blue", "vermillion", "green", "purple", "orange", "sky", "black")
MARKERS: tuple[str, ...] = ("circle", "square", "triangle", "diamond", "down", "cross", "plus")


def rgb(name: str) -> tuple[int, int, int]:
    """Return a named colour as three numbers 0..255.

    >>> rgb("sky")
    (86, 180, 233)
    """
    text = OKABE_ITO[name].lstrip("#")
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)
