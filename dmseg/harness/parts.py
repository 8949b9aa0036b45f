"""Parts: what one work unit gave, one file each, written when it is done; what makes a run resumable.

A run that is under way is ``RUN/parts/``: ``run.json`` (what is run, with its key), one file per finished work unit and
one note per session. The finished run has the tables instead.
"""

from __future__ import annotations

import gzip
import json
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmseg.canonical import canonical_json, plain
from dmseg.errors import DataError, UsageError
from dmseg.files import TEMPORARY_PREFIX, write_bytes, write_text
from dmseg.harness.engine import BlockResult
from dmseg.harness.options import differences
from dmseg.results.columns import PARTS_FOLDER, RUN_FILE


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one run folder."""

    out: Path

    @property
    def folder(self) -> Path:
        """Where the parts lie."""
        return self.out / PARTS_FOLDER

    def claim(self, info: Mapping[str, Any]) -> bool:
        """Begin the run in this folder or continue it; return False where it is finished already.

        Raises:
            UsageError: the folder holds another run, or something else.
        """
        for place in (self.out / RUN_FILE, self.folder / RUN_FILE):
            before = _read_info(place)
            if before is None:
                continue
            if before.get("run_key") != info["run_key"]:
                raise UsageError(
                    f"{self.out} holds another run ({'; '.join(differences(before, info)) or 'other key'}); "
                    "give another --out, or remove that folder"
                )
            finished = place.parent == self.out
            if finished:
                self.remove()  # left by a process that ended between the last file and the cleaning up
            return not finished
        if self.out.is_dir() and any(not path.name.startswith(TEMPORARY_PREFIX) for path in self.out.iterdir()):
            raise UsageError(f"{self.out} is not empty and holds no run; give --out a new or empty folder")
        write_json(self.folder / RUN_FILE, info)
        return True

    def path(self, number: int) -> Path:
        """Return the file of a work unit."""
        return self.folder / f"block-{number:07d}.json.gz"

    def missing(self, n_blocks: int) -> list[int]:
        """Return the numbers of the work units that are not done."""
        done = {path.name for path in self.folder.glob("block-*.json.gz")}
        return [number for number in range(n_blocks) if self.path(number).name not in done]

    def write(self, number: int, result: BlockResult) -> None:
        """Write the result of a work unit, whole or not at all."""
        write_bytes(self.path(number), gzip.compress(canonical_json(asdict(result)).encode(), 3, mtime=0))

    def read(self, n_blocks: int) -> Iterator[BlockResult]:
        """Yield the results of all work units in order.

        Raises:
            DataError: a part is damaged; it is removed, so that the same command does it again.
        """
        for number in range(n_blocks):
            path = self.path(number)
            try:
                values = json.loads(gzip.decompress(path.read_bytes()))
                yield BlockResult(values["tables"], values["audit"], values["halvings"])
            except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError) as error:
                path.unlink()
                raise DataError(f"{path} was damaged ({error}) and is removed; run the same command again") from None

    def note_session(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts about one session (host, versions, device) for environment.json."""
        write_json(self.folder / f"session-{secrets.token_hex(4)}.json", facts)

    def sessions(self) -> list[dict[str, Any]]:
        """Return the facts about all sessions, by start."""
        notes = [json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob("session-*.json")]
        return sorted(notes, key=lambda facts: str(facts["started"]))

    def remove(self) -> None:
        """Remove the parts; called once everything is merged."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file for people and programs, whole or not at all."""
    write_text(path, json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _read_info(path: Path) -> dict[str, Any] | None:
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(
            f"{path}: not a readable run.json ({error}); remove the folder, or give another --out"
        ) from None
    return info
