"""The manifests that ship with the package: each a folder ``<edition>-<version>/`` beside this file."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from dmseg.errors import unknown_name
from dmseg.manifests.files import HEADER_FILE, Manifest, read_header, read_manifest

LOCAL_EDITION = "local"


def _folders() -> dict[str, Path]:
    root = Path(str(resources.files("dmseg.manifests")))
    return {folder.name: folder for folder in sorted(root.iterdir()) if (folder / HEADER_FILE).is_file()}


def list_published() -> tuple[str, ...]:
    """Return the names of the published manifests, ``<edition>-<version>``, sorted."""
    return tuple(_folders())


def find_published(name: str) -> Manifest:
    """Return a published manifest by its name; an unknown name is an error that lists the known ones."""
    folders = _folders()
    if name not in folders:
        raise unknown_name("published manifest", name, folders)
    return read_manifest(folders[name])


@functools.cache
def _editions() -> dict[str, Mapping[str, Any]]:
    headers = (read_header(folder) for folder in _folders().values())
    return {header["manifest_digest"]: header for header in headers}


def find_published_header(manifest_digest: str) -> Mapping[str, Any] | None:
    """Return benchmark.json of the published manifest of that digest; None where it is none."""
    return _editions().get(manifest_digest)


def edition_of(manifest_digest: str) -> tuple[str, str]:
    """Return (edition, version) of a digest: those of the published manifest, else ``("local", "0+<digest8>")``."""
    header = find_published_header(manifest_digest)
    return (LOCAL_EDITION, f"0+{manifest_digest[:8]}") if header is None else (header["edition"], header["version"])
