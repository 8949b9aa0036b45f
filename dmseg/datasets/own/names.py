"""Names of labels that people write beside their masks: dataset.json, labelmap.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmseg.errors import DmsegError
from dmseg.reading import read_json, read_regular


def read_label_names(path: Path) -> dict[float, str]:
    """Return value -> name of a dataset.json: MSD's ``{"1": "liver"}`` or nnU-Net's ``{"liver": 1}``; empty if none.

    Regions of nnU-Net (``"whole": [1, 2]``) are no values of their own and are not in it.
    """
    try:
        content = read_json(path)
    except (DmsegError, FileNotFoundError):
        return {}
    labels: Any = content.get("labels") if isinstance(content, Mapping) else None
    if not isinstance(labels, Mapping):
        return {}
    names: dict[float, str] = {}
    for key, value in labels.items():
        try:
            names[float(key)] = str(value)
        except ValueError:
            if isinstance(value, int | float):
                names[float(value)] = str(key)
    return {value: name for value, name in names.items() if value != 0}


def read_channel_names(path: Path) -> list[str]:
    """Return the names of the channels of a dataset.json, in order; empty where it has none."""
    try:
        content = read_json(path)
    except (DmsegError, FileNotFoundError):
        return []
    channels = content.get("channel_names") or content.get("modality") if isinstance(content, Mapping) else None
    return [str(channels[key]) for key in sorted(channels)] if isinstance(channels, Mapping) else []


def read_colour_names(path: Path) -> dict[str, list[int]]:
    """Return name -> RGB of a labelmap.txt of CVAT (``name:r,g,b:parts:actions``), without the background."""
    try:
        text = read_regular(path).decode("utf-8-sig", "replace")
    except (DmsegError, FileNotFoundError):
        return {}
    names: dict[str, list[int]] = {}
    for line in text.splitlines():
        fields = line.split("#")[0].strip().split(":")
        parts = fields[1].split(",") if len(fields) > 1 else []
        if len(parts) == 3 and all(part.strip().isdecimal() and int(part) < 256 for part in parts):
            colour = [int(part) for part in parts]
            if any(colour):
                names[fields[0].strip()] = colour
    return names
