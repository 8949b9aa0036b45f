"""What is on the disk: which datasets are found below RAW, their sources, and the identity of their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg import datasets
from dmseg.canonical import digest
from dmseg.datasets import LeftOut, Reader, Recipe, Source, synthetic
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.files import sha256_file
from dmseg.types import DATASETS_OF, MEDICAL


@dataclass(frozen=True, slots=True)
class FileState:
    """One source file: what the file system says of it, and the sha256 of its bytes."""

    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, known: FileState | None = None) -> FileState:
        """Return the state of a file; its bytes are read only where size or times differ from ``known``."""
        stat = path.stat()
        if known and (known.size, known.mtime_ns, known.ctime_ns) == (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns):
            return known
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, sha256_file(path))


@dataclass(frozen=True, slots=True)
class FoundDataset:
    """A dataset below RAW.

    Attributes:
        recipe, reader, root: what it is and where it begins.
        sources: what can be read; ``problems`` is what is left out by name alone.
        phantoms: root-relative path -> identity of the files that were synthesised; empty for real data.
    """

    recipe: Recipe
    reader: Reader
    root: Path
    sources: Sequence[Source]
    problems: Sequence[LeftOut]
    phantoms: Mapping[Path, str]

    @property
    def name(self) -> str:
        """The recipe's id."""
        return self.recipe.id


def list_names(track: str | None = None) -> tuple[str, ...]:
    """Return the names of the shipped datasets of a track, or of all of them."""
    if track == MEDICAL:
        return datasets.RECIPES
    photos = datasets.PHOTO_RECIPES
    if track:
        return photos[DATASETS_OF.get(track, track)]
    return (*datasets.RECIPES, *(name for names in photos.values() for name in names))


def choose_track(track: str | None, names: Iterable[str] | None) -> str:
    """Return the track that a command is about: the one given, else that of the datasets named, else medical.

    Raises:
        UsageError: an unknown dataset, or datasets of another track, or of several.
        DataError: an unusable recipe file.
    """
    of = {find_recipe(name).id: find_recipe(name).track for name in names or ()}
    chosen = track or next(iter(of.values()), MEDICAL)
    for name, own in of.items():
        if own != DATASETS_OF.get(chosen, chosen):
            raise UsageError(
                f"{name} is of the track {own}, not {chosen}; tracks are never mixed: use it apart, with --track {own}"
            )
    return chosen


def find_datasets(raw: Path, names: Iterable[str] | None = None, track: str = MEDICAL) -> list[FoundDataset]:
    """Return the datasets below ``raw``, in the order of the recipes.

    Args:
        raw: folder with the raw downloads.
        names: datasets that must be there (own ones by the path of their recipe); None takes all that are found.
        track: whose datasets are looked for where no names are given.

    Raises:
        UsageError: an unknown name.
        DataError: ``raw`` is no folder, a wanted dataset is not in it, or no dataset at all is.
    """
    if not raw.is_dir():
        raise DataError(f"{raw}: no such folder; give --raw the folder that holds the raw downloads, one per dataset")
    recipes = [find_recipe(name) for name in (list_names(track) if names is None else names)]
    unique = {recipe.id: recipe for recipe in recipes}
    shipped = list_names(track)
    order = sorted(
        unique,
        key=lambda name: (shipped.index(name) if name in shipped else len(shipped), name),
    )
    entries = synthetic.read_index(raw)
    found = []
    for recipe in (unique[name] for name in order):
        entry = _find(raw, recipe, entries)
        if entry is not None:
            found.append(entry)
        elif names is not None:
            tree = recipe.tree.strip("\n")
            raise DataError(f"{raw}: dataset {recipe.id} not found; expected below it:\n{tree}")
    if not found:
        raise DataError(
            f"{raw}: none of the datasets of the track {track} is in it; `dmseg datasets --raw {raw}` says what is "
            "expected where"
        )
    return found


def find_recipe(name: str) -> Recipe:
    """Return a shipped recipe by its dataset's name, or one's own by the path of its TOML file.

    Raises:
        UsageError: no such dataset.
        DataError: an unusable recipe file, or one with the id of a shipped dataset.
    """
    if name.lower().endswith(".toml"):
        own = datasets.from_file(Path(name))
        if own.id in list_names():
            raise DataError(f'{name}: its id "{own.id}" is that of a shipped dataset; give it another')
        return own
    if name not in list_names():
        raise unknown_name("dataset", name, list_names())
    return datasets.recipe(name)


def _find(raw: Path, recipe: Recipe, entries: synthetic.Entries) -> FoundDataset | None:
    reader = datasets.reader_of(recipe)
    root = reader.find(raw)
    if root is None:
        return None
    sources, shared = _exclude_shared(raw, recipe, reader.sources(root))
    drawn = _phantom_identities(raw, root, [file for source in sources for file in source.files], entries)
    return FoundDataset(recipe, reader, root, sources, [*reader.problems(root), *shared], drawn)


def _exclude_shared(raw: Path, recipe: Recipe, sources: list[Source]) -> tuple[list[Source], list[LeftOut]]:
    """Leave out the images that the dataset named by ``apart_from`` has too, told by their file names.

    So an image that one dataset gives to training or to ``seen`` is never ``unseen`` in another.
    """
    other = recipe.parameters.get("apart_from")
    if other is None:
        return sources, []
    reader = datasets.reader(other)
    root = reader.find(raw, unpack=False)
    if root is None:
        text = f"{other} is not in the folder: images that it has too could not be left out, and may not be unseen"
        return sources, [LeftOut(recipe.id, text, datasets.NOTE)]
    names = {source.files[0].name.lower() for source in reader.sources(root)}
    kept = [source for source in sources if source.files[0].name.lower() not in names]
    gone = [
        LeftOut(source.files[0].as_posix(), f"{other} has it too")
        for source in sources
        if source.files[0].name.lower() in names
    ]
    return kept, gone


def _phantom_identities(raw: Path, root: Path, files: Iterable[Path], entries: synthetic.Entries) -> dict[Path, str]:
    """Return root-relative path -> identity of the sources' files that ``dmseg phantom`` wrote; empty for real data.

    The identity of a phantom's file is the sha256 of its entry in phantom.json (generator version, seed, key), because
    encoders write other bytes on other machines.
    """
    folder, top = root.resolve(), raw.resolve()
    if not entries or not folder.is_relative_to(top):
        return {}
    names = {file: (folder.relative_to(top) / file).as_posix() for file in files}
    return {file: digest(entries[name]) for file, name in names.items() if name in entries}
