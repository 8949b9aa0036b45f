"""One data set's folder while it is written: files, and which key each of them was drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DrawnItem:
    """One image or one patient's slices, as drawn.

    Attributes:
        number: 0, 1, 2, ... in the order of drawing.
        case: the patient's number.
        view: number of the image within its case.
        key: names all randomness of the content.
        content: a Drawing or a Stack.
    """

    number: int
    case: int
    view: int
    key: str
    content: Any


@dataclass(slots=True)
class PhantomFolder:
    """Where one data set is written. ``keys`` maps each file (relative to the folder, with ``/``) to its key."""

    root: Path
    seed: int
    name: str
    keys: dict[str, str] = field(default_factory=dict)

    def put(self, relative: str, content: bytes, key: str) -> None:
        """Write one file and record what it was drawn from."""
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.keys[relative] = key

    def note(self, relative: str, text: str) -> None:
        """Write a text that accompanies the data (tables, licences, splits)."""
        self.put(relative, text.encode(), f"{self.name}/{self.seed}")
