"""axe-core, which finds what readers with aids could not use: from AXE_CORE_JS, or from the npm registry, once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

VERSION = "4.10.3"
_SHA256 = "880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb"
_SECONDS = 60


@functools.cache
def read_axe() -> str | None:
    """Return the script; None where it is neither here nor to be had (no npm, no network)."""
    named = os.environ.get("AXE_CORE_JS")
    if named:
        return Path(named).read_text(encoding="utf-8")
    kept = Path(tempfile.gettempdir()) / f"dmseg-axe-core-{VERSION}.js"
    script = kept.read_bytes() if kept.is_file() else b""
    if not _is_axe(script):
        script = _fetch() or b""
        if not _is_axe(script):
            return None
        with contextlib.suppress(OSError):  # another user's file may stand there
            beside = Path(tempfile.mkstemp(dir=kept.parent, suffix=".js")[1])
            beside.write_bytes(script)
            beside.replace(kept)
    return script.decode("utf-8")


def _is_axe(script: bytes) -> bool:
    return hashlib.sha256(script).hexdigest() == _SHA256


def _fetch() -> bytes | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"axe-core@{VERSION}", "--silent"]
        try:
            done = subprocess.run(command, cwd=folder, timeout=_SECONDS, capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            return None
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            return None
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/axe.min.js")
            return member.read() if member else None


def find_violations(page: Any) -> list[list[str]]:
    """Return the serious and critical violations of an open page: impact, rule, first element."""
    script = read_axe()
    if script is None:
        if os.environ.get("GITHUB_ACTIONS"):
            pytest.fail("axe-core could not be had: npm pack axe-core needs npm and the npm registry")
        pytest.skip("axe-core is not to be had here: no npm or no network; or name its axe.min.js in AXE_CORE_JS")
    page.evaluate(script)
    found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))")
    return [row for row in found if row[0] in ("serious", "critical")]
