"""What is on the disk: which datasets are found below RAW, their sources, and the identity of their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg import datasets
from dmseg.canonical import digest
from dmseg.datasets import LeftOut, Reader, Recipe, Source, synthetic
from dmseg.errors import DataError, unknown_name
from dmseg.files import sha256_file


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


def find_datasets(raw: Path, names: Iterable[str] | None = None) -> list[FoundDataset]:
    """Return the datasets below ``raw``, in the order of the recipes.

    Args:
        raw: folder with the raw downloads.
        names: datasets that must be there (own ones by the path of their recipe); None takes all that are found.

    Raises:
        UsageError: an unknown name.
        DataError: ``raw`` is no folder, a wanted dataset is not in it, or no dataset at all is.
    """
    if not raw.is_dir():
        raise DataError(f"{raw}: no such folder; give --raw the folder that holds the raw downloads, one per dataset")
    recipes = [find_recipe(name) for name in (datasets.RECIPES if names is None else names)]
    unique = {recipe.id: recipe for recipe in recipes}
    order = sorted(
        unique,
        key=lambda name: (datasets.RECIPES.index(name) if name in datasets.RECIPES else len(datasets.RECIPES), name),
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
            f"{raw}: none of the datasets is in it; `dmseg datasets --raw {raw}` says what is expected where"
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
        if own.id in datasets.RECIPES:
            raise DataError(f'{name}: its id "{own.id}" is that of a shipped dataset; give it another')
        return own
    if name not in datasets.RECIPES:
        raise unknown_name("dataset", name, datasets.RECIPES)
    return datasets.recipe(name)


def _find(raw: Path, recipe: Recipe, entries: synthetic.Entries) -> FoundDataset | None:
    reader = datasets.reader_of(recipe)
    root = reader.find(raw)
    if root is None:
        return None
    sources = reader.sources(root)
    drawn = _phantom_identities(raw, root, [file for source in sources for file in source.files], entries)
    return FoundDataset(recipe, reader, root, sources, reader.problems(root), drawn)


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
