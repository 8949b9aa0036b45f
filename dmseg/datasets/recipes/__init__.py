"""Recipes: one TOML table per dataset, with everything about it that is not code.

A recipe says what the dataset is (anatomy, licence, citation, where to get it, which tree is expected) and by which
rules it becomes part of the benchmark (role, split, slices, window, structures, domain degradations). The rules have a
digest; the prose has none, so a corrected link changes no benchmark.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from dmseg import canonical
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.naming import require_id, require_inside
from dmseg.tables import file_table, read_packaged_table, record
from dmseg.types import MEDICAL, PHOTO, SPLITS, Window, check_modality, check_track

_TABLE = read_packaged_table("dmseg.datasets", "datasets.toml")
RECIPES: tuple[str, ...] = tuple(_TABLE["order"])
"""The datasets of the medical track that have a recipe and a reader, in the order of the paper's table."""
PHOTO_RECIPES: dict[str, tuple[str, ...]] = {track: tuple(names) for track, names in _TABLE["tracks"].items()}
"""The same of the other tracks, by track."""
ALL_RECIPES: tuple[str, ...] = (*RECIPES, *(name for names in PHOTO_RECIPES.values() for name in names))
"""The datasets of all tracks."""

ROLES = ("seen", "unseen")

_RULES = (
    "id",
    "version",
    "modalities",
    "structures",
    "role",
    "validation",
    "domain",
    "windows",
    "evaluate_at_most",
    "parameters",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One dataset: its card and its rules.

    Attributes:
        id: name used in file names and ids.
        version: raised when the reader's rules change, so that the digest changes with them.
        title, anatomy, citation (BibTeX), licence, url, how_to_get, tree: the card, for people.
        modalities: one or more of :data:`dmseg.types.MODALITIES`.
        structures: the names that masks can have, as they appear in mask ids; empty: the dataset names them itself.
        reader: name of the reader of the original layout.
        folders: names, besides ``id``, that the dataset's folder below RAW may have (compared without case and signs).
        role: ``seen`` (training, and validation where ``validation``) or ``unseen`` (evaluation only).
        validation: the dataset gives a fifth of its images to the seen evaluation split.
        expected_images: images a full download yields in the paper's table.
        target_rule, case_rule, slice_rule: what becomes a mask, a case and a slice, in words.
        domain: modality -> names of the domain degradations of level LQ-3+.
        windows: modality -> fixed grey window in the units of the stored values; absent: 8-bit or percentiles.
        unit: what one source of the reader is (images, volumes, series), for people.
        share_masks: the licence allows masks in an exported manifest.
        share_pixels: the licence allows images, degraded ones too, in a published benchmark.
        evaluate_at_most: at most so many masks of one image are evaluated, by keyed choice; None = all.
        parameters: numbers and names that only the reader of this dataset understands.
        assumed: what is not certain about the original layout and was assumed.
        track: one of :data:`dmseg.types.TRACKS`; the natural ones have images of modality ``photo`` and no LQ-3+.
        parts: beginning of a case's id -> its split, where the dataset's own lists say it; empty: by role.
    """

    id: str
    version: int
    title: str
    modalities: tuple[str, ...]
    anatomy: str
    structures: tuple[str, ...]
    reader: str
    role: str
    expected_images: int
    target_rule: str
    case_rule: str
    domain: dict[str, tuple[str, ...]]
    citation: str
    licence: str
    url: str
    how_to_get: str
    tree: str
    share_masks: bool = False
    share_pixels: bool = False
    validation: bool = False
    folders: tuple[str, ...] = ()
    slice_rule: str = ""
    windows: dict[str, Window] = field(default_factory=dict)
    unit: str = "images"
    evaluate_at_most: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    track: str = MEDICAL
    parts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"recipe {ascii(self.id)[1:-1][:80]}"
        require_id(self.id, f"{where}: id", 60)
        for name in self.structures:
            if not name.isprintable() or not 0 < len(name) <= 100:
                raise DataError(f"{where}: structure {ascii(name)[:120]}: give 1 to 100 printable characters")
        for name, value, low in (
            ("version", self.version, 0),
            ("expected_images", self.expected_images, 0),
            ("evaluate_at_most", 1 if self.evaluate_at_most is None else self.evaluate_at_most, 1),
        ):
            if not low <= value <= 10**9:
                raise DataError(f"{where}: {name} is {value}; a whole number from {low} to 1000000000")
        for place, text in _list_texts(self.parameters, "parameters"):  # patterns of files: "images/{id}"
            if "{" in text or "/" in text or text == "..":
                require_inside(text, f"{where}: {place}")
        for window in self.windows.values():
            if not (window.width > 0 and abs(window.center) <= 1e6 and window.width <= 1e6):
                raise DataError(
                    f"{where}: window {window.center}/{window.width}: a width above 0, both within a million"
                )
        object.__setattr__(self, "track", check_track(self.track))
        object.__setattr__(self, "modalities", tuple(self._check_modality(name) for name in self.modalities))
        for split in self.parts.values():
            if split not in SPLITS:
                raise unknown_name(f"split in recipe {self.id}", split, SPLITS)
        for table in ("domain", "windows"):
            by_modality = {self._check_modality(name): value for name, value in getattr(self, table).items()}
            object.__setattr__(self, table, by_modality)
        if self.role not in ROLES:
            raise unknown_name("role", self.role, ROLES)
        if not self.modalities:
            raise DataError(f"recipe {self.id}: name at least one modality")
        if self.validation and self.role != "seen":
            raise DataError(f"recipe {self.id}: only a seen dataset can have validation images")

    def _check_modality(self, name: str) -> str:
        if self.track == MEDICAL:
            return check_modality(name)
        if name != PHOTO:
            raise unknown_name(f"modality in recipe {self.id} of the track {self.track}", name, (PHOTO,))
        return name

    @property
    def digest(self) -> str:
        """sha256 (64 hex digits) of the rules; prose is outside, and so is what other tracks alone have."""
        rules = {name: getattr(self, name) for name in _RULES}
        rules |= {name: value for name in ("track", "parts") if (value := getattr(self, name)) and value != MEDICAL}
        rules["windows"] = {key: [window.center, window.width] for key, window in self.windows.items()}
        return canonical.digest(rules)

    def modality(self, modality: str | None = None) -> str:
        """Return ``modality`` if the dataset has it, or its only one when None is given.

        Raises:
            UsageError: the dataset has several and none was given, or has another; the message names them.
        """
        if modality is None and len(self.modalities) == 1:
            return self.modalities[0]
        if modality is None:
            choices = " and ".join(self.modalities)
            raise UsageError(f"dataset {self.id} has images of {choices}; say which with modality=")
        known = self._check_modality(modality)
        if known not in self.modalities:
            raise unknown_name(f"modality of dataset {self.id}", modality, self.modalities)
        return known

    def domain_ops(self, modality: str | None = None) -> tuple[str, ...]:
        """Return the names of the domain degradations of LQ-3+ for the images of one modality."""
        return self.domain[self.modality(modality)]


def _list_texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield every text in a table of parameters with where it is."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping | Sequence):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in pairs:
            yield from _list_texts(item, f"{name}.{key}")


def from_table(table: Mapping[str, Any], where: str) -> Recipe:
    """Build a recipe from a parsed TOML table; ``where`` names it in errors."""
    return record(Recipe, table, where)


def from_file(path: Path) -> Recipe:
    """Read a recipe from a TOML file of one's own.

    Raises:
        DataError: missing, not TOML, or with an unknown, missing or mistyped key.
    """
    return from_table(file_table(path), str(path))


@functools.cache
def recipe(name: str) -> Recipe:
    """Return the shipped recipe of a dataset.

    Raises:
        UsageError: no such dataset; the message suggests the nearest name.
    """
    if name not in ALL_RECIPES:
        raise unknown_name("dataset", name, ALL_RECIPES)
    file = f"{name}.toml"
    return from_table(read_packaged_table(__name__, file), str(resources.files(__name__).joinpath(file)))
