"""Pictures of results: arrays and numbers in, a uint8 image or an SVG text out. No file is read or written here.

Raster (:mod:`~dmseg.figures.raster`): :func:`panel` draws one image with contours, clicks and box;
:func:`contact_sheet` lays images out in labelled rows and columns; :func:`heat` and :func:`draw_signed_heat` colour
maps; :func:`draw_histogram` draws counts.
Vector (:mod:`~dmseg.figures.svg`): :func:`curve_svg`, :func:`histogram_svg`, :func:`interval_svg`,
:func:`heat_table`, inline in a page, in the page's own light or dark colours.
Page (:mod:`~dmseg.figures.page`): :func:`page` frames a self-contained HTML document.
All charts are our own: a page is one file without requests, follows the reader's light or dark colours and has the same
bytes for the same numbers, on any machine and whatever version of a plotting library is installed. The libraries that
were looked at (matplotlib, Vega, Plotly) give up one of these each; what is drawn here is five kinds of charts.
Colours are those of Okabe and Ito (2008), never the only sign: curves have markers, contours differ in width.
"""

from dmseg.figures.colours import OKABE_ITO
from dmseg.figures.heat import draw_signed_heat, heat
from dmseg.figures.page import embed_png, page
from dmseg.figures.raster import contact_sheet, draw_histogram, panel
from dmseg.figures.svg import FIGURE_CSS, Series, curve_svg, heat_table, histogram_svg, interval_svg, marker_icon

__all__ = [
    "FIGURE_CSS",
    "OKABE_ITO",
    "Series",
    "contact_sheet",
    "curve_svg",
    "draw_histogram",
    "draw_signed_heat",
    "embed_png",
    "heat",
    "heat_table",
    "histogram_svg",
    "interval_svg",
    "marker_icon",
    "page",
    "panel",
]
