"""Click it yourself: a page on this machine where people prompt models, see the masks, and keep their clicks.

``views`` says what can be looked at, ``answers`` asks the models, ``recording`` keeps clicks and masks as files,
``server`` is the page's other side, ``export`` writes a page with recorded answers that needs no server.
"""

from dmseg.click.answers import Answerer
from dmseg.click.export import write_recorded_page
from dmseg.click.recording import read_clicks, write_clicks
from dmseg.click.views import ImageGallery, gallery_of_benchmark, gallery_of_file

__all__ = [
    "Answerer",
    "ImageGallery",
    "gallery_of_benchmark",
    "gallery_of_file",
    "read_clicks",
    "write_clicks",
    "write_recorded_page",
]
