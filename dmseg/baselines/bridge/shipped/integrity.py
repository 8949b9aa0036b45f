"""Looks at weights files that other packages unpickle, and names code that is no package. Numpy is not needed.

``torch.load`` of the versions that published models pin runs what a file says. What a file of weights needs is a few
names; one that holds another is refused before anything reads it.
"""

from __future__ import annotations

import hashlib
import pickletools
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

_NEEDED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|parameter)|torch (\w+Storage|Size|device)"
    r"|torch\.storage (_?\w*Storage)|torch\.serialization _get_layout"
    r"|torch (float32|float16|bfloat16|int64|int32|uint8|bool)"
)
_MOST_BYTES = 1 << 28


def list_names(path: Path) -> set[str]:
    """Return the names ``module name`` that the pickle of a checkpoint would import.

    Raises:
        ValueError: no checkpoint of torch 1.6 or newer (a zip with one ``data.pkl``), or names made while it is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            places = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
            if len(places) != 1 or archive.getinfo(places[0]).file_size > _MOST_BYTES:
                raise ValueError(f"{path}: holds {len(places)} pickles; expected one of at most {_MOST_BYTES} bytes")
            content = archive.read(places[0])
    except zipfile.BadZipFile:
        raise ValueError(f"{path}: no checkpoint of torch 1.6 or newer; is the download whole?") from None
    found = set()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("GLOBAL", "INST"):
            found.add(str(argument))
        elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"{path}: refused, since its pickle makes the names that it imports while it is read")
    return found


def check_weights(files: Iterable[Path], allowed: Iterable[str] = ()) -> str:
    """Return one sha256 of some weights files, after a look at those that are pickles.

    Args:
        files: ``.bin``, ``.pth`` and the like are looked at; ``.safetensors`` hold no code.
        allowed: further names ``module name`` that are known to be harmless.

    Raises:
        ValueError: a file that would run code; the message names it and the name.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        if path.suffix != ".safetensors":
            strange = sorted(name for name in list_names(path) - set(allowed) if not _NEEDED.fullmatch(name))
            if strange:
                raise ValueError(f"{path}: refused, since reading it would run code from the file: {strange[0]}")
        own = hashlib.sha256()
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 24), b""):
                own.update(chunk)
        digest.update(f"{path.name} {own.hexdigest()}\n".encode())
    return digest.hexdigest()


def hash_code(folder: Path) -> str:
    """Return the first 12 hex digits of one sha256 of the Python files of a repository, whatever its place."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(
            f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()[:12]
