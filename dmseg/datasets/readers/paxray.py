"""PAXRay++: chest X-rays in a tar that is named ``.tar.gz``, masks of many categories in COCO files."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dmseg.datasets import coco, tree
from dmseg.datasets.archives import SUFFIXES
from dmseg.datasets.readers.pairs import PairReader
from dmseg.datasets.sources import LeftOut, Scan, Source, clean_id
from dmseg.errors import DataError, ImageFileError
from dmseg.files import cache_folder
from dmseg.types import Image, Mask, Sample, Structure


class PaxrayReader(PairReader):
    """``paxray*.json`` with the images unpacked below it, or in a plain tar beside it that is read in place."""

    def is_root(self, folder: Path) -> bool:
        if not _annotation_files(folder):
            return False
        return any(_plain_tar(file) for file in tree.files(folder, SUFFIXES)) or any(tree.files_below(folder))

    def scan(self, root: Path) -> Scan:
        images = _images(root)
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        listed: set[str] = set()
        for annotation_file in _annotation_files(root):
            index = coco.read_index(annotation_file)
            for file_name, (number, height, width) in index.images.items():
                name = PurePosixPath(file_name).name
                listed.add(name.lower())
                place = images.get(name.lower())
                annotations = index.annotations.get(number, [])
                if place is None or not annotations:
                    left_out.append(LeftOut(file_name, "image missing" if place is None else "no annotation"))
                    continue
                file, member = place
                identity = clean_id(PurePosixPath(name).stem)
                detail = {"size": [height, width], "at": annotations, "names": index.categories, "member": member}
                files = (file.relative_to(root), annotation_file.relative_to(root))
                sources.append(Source(identity, self._case(identity), files, json.dumps(detail)))
        left_out += [LeftOut(name, "not in the annotation files") for name in sorted(set(images) - listed)]
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the one sample of the source; a member of the tar passes through a file in the cache."""
        detail = json.loads(source.detail)
        if detail["member"] is None:
            yield from super().read(root, source)
            return
        with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
            name, offset, size = detail["member"]
            image = Path(folder) / f"member{PurePosixPath(name).suffix}"
            with (root / source.files[0]).open("rb") as tar:
                tar.seek(offset)
                image.write_bytes(tar.read(size))
            try:
                pixels, spacing = self.image(image)
            except ImageFileError as error:
                raise ImageFileError(str(error).replace(str(image), f"{source.files[0]}, member {name}")) from None
        yield self.sample(
            source.id,
            source.case_id,
            pixels,
            self.structures(root, source, pixels),
            source=f"{source.files[0].as_posix()}#{name}",
            spacing=spacing,
        )

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield one object per category, its annotations united; categories may overlap."""
        detail = json.loads(source.detail)
        names: dict[str, str] = detail["names"]
        masks: dict[str, Mask] = {}
        path = root / source.files[1]
        for annotation in coco.read_annotations(path, detail["at"]):
            category = str(annotation.get("category_id"))
            if category not in names:
                raise ImageFileError(f"{path}: an annotation of {source.id} has the unknown category {category}")
            try:
                mask = coco.segmentation_mask(annotation.get("segmentation"), tuple(detail["size"]))
            except (DataError, ValueError, TypeError) as error:
                raise ImageFileError(f"{path}: an annotation of {source.id}: {error}") from None
            name = clean_id(names[category].strip().replace(" ", "_")).lower()
            masks[name] = masks[name] | mask if name in masks else mask
        for name, mask in masks.items():
            yield Structure(name, mask)

    def _case(self, identity: str) -> str:
        for view in self.recipe.parameters["views"]:
            identity = identity.removesuffix(view)
        return identity


def _annotation_files(folder: Path) -> list[Path]:
    return [file for file in tree.files(folder, (".json",)) if file.name.lower().startswith("paxray")]


def _images(root: Path) -> dict[str, tuple[Path, tuple[str, int, int] | None]]:
    """Return lower-case image name -> its file, or its tar and there (member, offset, size)."""
    found: dict[str, tuple[Path, tuple[str, int, int] | None]] = {}
    for archive in tree.files(root, SUFFIXES):
        if _plain_tar(archive):
            for name, offset, size in _members(archive):
                found[PurePosixPath(name).name.lower()] = (archive, (name, offset, size))
    for file in tree.files_below(root):
        found[file.name.lower()] = (file, None)
    return found


def _plain_tar(archive: Path) -> bool:
    """Return whether a file is a tar without compression, whatever its name says."""
    try:
        with tarfile.open(archive, "r:"):
            return True
    except (tarfile.TarError, OSError):
        return False


def _members(archive: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset, size) of the images in a tar; names that lead outside and links are refused."""
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                    raise DataError(
                        f'{archive}: "{member.name}" leads outside the archive or is a link; such an archive is refused'
                    )
                if member.isfile() and name.suffix.lower() in tree.IMAGE_SUFFIXES and not name.name.startswith("."):
                    yield member.name, member.offset_data, member.size
    except tarfile.TarError as error:
        raise DataError(f"{archive}: damaged ({error}); download it again") from None


def _scratch() -> Path:
    folder = cache_folder() / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
