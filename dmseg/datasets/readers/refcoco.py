"""RefCOCO, RefCOCO+ and RefCOCOg: objects of COCO's train2014 images that sentences name.

A *ref* is one object of one image with its sentences; every sentence is a sample of its own in the published numbers.
The lists of refs are Python 2 pickles: they are read as data, and one that names any class is refused.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmseg.datasets import coco, tree
from dmseg.datasets.readers.objects import MISSING, ObjectReader
from dmseg.datasets.sources import NOTE, LeftOut, Scan, Source
from dmseg.errors import ImageFileError

_LARGEST_BYTES = 1 << 30
_IMAGE_FOLDERS = (("images", "mscoco", "images", "train2014"), ("images", "train2014"), ("train2014",))


@dataclass(frozen=True, slots=True)
class Ref:
    """One object of one image: its annotation, the part of the data set it belongs to, and what people called it."""

    annotation: int
    image: int
    part: str
    sentences: tuple[str, ...]


class RefCocoReader(ObjectReader):
    """``<dataset>/instances.json`` and ``<dataset>/refs(<who split it>).p`` beside COCO's ``train2014``.

    The recipe says which data set, whose split (``unc``, ``umd``, ``google``) and which parts; the first part that has
    a ref of an image gets the image, with the refs of that part alone. So no image is in two parts, which with the
    split ``google`` would be; what is left out so is noted.
    """

    def is_root(self, folder: Path) -> bool:
        return self._find_refs(folder) is not None and bool(self.list_images(folder))

    def _find_refs(self, root: Path) -> Path | None:
        parameters = self.recipe.parameters
        return tree.descend(root, parameters["dataset"], f"refs({parameters['split_by']}).p")

    def list_annotation_files(self, root: Path) -> list[tuple[str, Path]]:
        file = tree.descend(root, self.recipe.parameters["dataset"], "instances.json")
        return [] if file is None else [("all", file)]

    def list_images(self, root: Path) -> Mapping[str, Path]:
        found = [folder for names in _IMAGE_FOLDERS if (folder := tree.descend(root, *names)) is not None]
        return {file.name.lower(): file for file in tree.files(found[0])} if found else {}

    def scan(self, root: Path) -> Scan:
        refs_file, images = self._find_refs(root), self.list_images(root)
        annotated = self.list_annotation_files(root)
        if refs_file is None or not annotated:
            place = root / self.recipe.parameters["dataset"]
            raise ImageFileError(f"{place}: holds no instances.json beside the list of refs; unpack the download whole")
        file = annotated[0][1]
        index = coco.read_index(file)
        by_image: dict[int, list[Ref]] = {}
        for ref in read_refs(refs_file):
            by_image.setdefault(ref.image, []).append(ref)
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for name, (number, height, width) in index.images.items():
            part, refs, elsewhere = self._choose_part(by_image.get(number, []))
            if part is None:
                continue  # of a part that the recipe does not take
            image = self.find_image(images, name)
            if image is None:
                left_out.append(LeftOut(name, MISSING))
                continue
            if elsewhere:
                left_out.append(LeftOut(name, f"{elsewhere} refs of other parts than {part} are not taken", NOTE))
            names = {str(key): index.categories.get(key, "") for key in sorted(index.named.get(number, ()))}
            detail = {"size": [height, width], "at": index.annotations.get(number, []), "names": names, "refs": refs}
            files = (image.relative_to(root), file.relative_to(root), refs_file.relative_to(root))
            case = self.case_of(part, name, files[0])
            sources.append(Source(self.id_of(name, files[0]), case, files, json.dumps(detail)))
        return Scan(sources, left_out)

    def _choose_part(self, refs: list[Ref]) -> tuple[str | None, dict[str, list[str]], int]:
        """Return the part that an image goes to, its annotations with their sentences, and how many refs are left."""
        parts = {ref.part for ref in refs}
        chosen = next((part for part in self.recipe.parameters["parts"] if part in parts), None)
        taken: dict[str, list[str]] = {}
        for ref in refs:
            if ref.part == chosen:
                taken.setdefault(str(ref.annotation), []).extend(ref.sentences)
        return chosen, taken, sum(ref.part != chosen for ref in refs)


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dictionaries, texts and numbers; nothing is imported, so nothing can be executed."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'it names "{module}.{name}", which a list of sentences has no use for; refused')

    def persistent_load(self, key: Any) -> Any:
        raise pickle.UnpicklingError("it speaks of objects outside of the file; refused")


def read_refs(path: Path) -> tuple[Ref, ...]:
    """Return the refs of a list ``refs(...).p``, in file order; read once per state of the file.

    Raises:
        ImageFileError: missing, damaged, a pickle that names a class, or no list of refs.
    """
    try:
        status = path.stat()
        if status.st_size > _LARGEST_BYTES:
            raise ImageFileError(f"{path}: {status.st_size} bytes; a list of refs has at most {_LARGEST_BYTES}")
        return _load_refs(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be opened ({error.strerror})") from None


@functools.lru_cache(maxsize=4)
def _load_refs(path: Path, size: int, changed_ns: int) -> tuple[Ref, ...]:
    try:
        # The lists were written in text mode of Python 2; "latin1" reads its byte strings without loss.
        content = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        if not isinstance(content, list):
            raise ValueError(f"it holds a {type(content).__name__}, not a list")
        return tuple(_make_refs(content))
    except pickle.UnpicklingError as error:
        raise ImageFileError(f"{path}: not readable as a list of refs: {error}") from None
    except (
        *(EOFError, TypeError, ValueError, LookupError, AttributeError, RecursionError, ArithmeticError),
        *(MemoryError, struct.error),
    ) as error:
        raise ImageFileError(f"{path}: not a list of refs ({error!r}); damaged? download it again") from None


def _make_refs(content: list[Any]) -> Iterator[Ref]:
    for entry in content:
        numbers = entry["ann_id"], entry["image_id"]
        sentences = tuple(one["sent"].strip() for one in entry["sentences"])
        if not all(isinstance(number, int) for number in numbers) or not isinstance(entry["split"], str):
            raise ValueError(f"a ref has the ids {numbers} and the split {entry['split']!r}")
        if not all(isinstance(text, str) for text in sentences):
            raise ValueError(f"a ref of image {numbers[1]} has a sentence that is no text")
        kept = tuple(text for text in sentences if text)
        if kept:
            yield Ref(*numbers, entry["split"], kept)
