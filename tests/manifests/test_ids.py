"""Identifiers: only safe characters, never longer than a file name may be, different for different names."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dmseg.manifests import case_id, clean_text, image_id, mask_id
from dmseg.manifests.ids import MAX_ID_LENGTH


@given(st.text(max_size=400))
def test_an_id_holds_safe_characters_only_and_fits_a_file_name(name: str) -> None:
    for identifier in (image_id("BUSI", name), case_id("BUSI", name)):
        assert re.fullmatch(r"BUSI__[A-Za-z0-9._-]*", identifier)
        assert len(f"{identifier}.png") <= 255


def test_each_foreign_character_becomes_one_hyphen() -> None:
    assert clean_text("benign (1)é/ü") == "benign--1----"
    assert clean_text("e\u0301") == clean_text("\u00e9") == "-"
    assert image_id("Kvasir-SEG", "cju0.x_y-z") == "Kvasir-SEG__cju0.x_y-z"


def test_long_names_that_differ_only_at_the_end_keep_different_ids() -> None:
    first, second = ("x" * 500 + end for end in "ab")
    assert image_id("D", first) != image_id("D", second)
    assert len(image_id("D", first)) == MAX_ID_LENGTH
    assert image_id("D", first).startswith("D__xxx")


def test_mask_ids_number_the_objects_of_a_structure() -> None:
    assert mask_id("BBBC038__a", "nucleus", 12) == "BBBC038__a__nucleus__12"
    assert mask_id("i", "left kidney", 0) == "i__left-kidney__0"
