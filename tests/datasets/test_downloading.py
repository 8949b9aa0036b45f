"""Downloads from a local server: whole, cut and continued, redirected, of the wrong size, pages instead of archives."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from dmseg.cli.datasets import command
from dmseg.datasets import downloading
from dmseg.datasets.downloading import RemoteFile, download
from dmseg.errors import DataError, UsageError


def _archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("a.txt", bytes(range(256)) * 400)
    return stream.getvalue()


CONTENT = _archive()


class _Server(BaseHTTPRequestHandler):
    """``/whole``, ``/cut`` (half, then the rest by ranges), ``/plain`` (no ranges), ``/moved``, ``/page`` ..."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        kind = self.path.strip("/").split("/")[0]
        given = self.headers.get("Range")
        self.asked.append(f"{kind} {given or ''}".strip())
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", "/whole/set.zip")
            self.end_headers()
        elif kind == "missing":
            self.send_error(404)
        elif kind == "page":
            self._send(b"<!DOCTYPE html><title>Log in</title>")
        elif given and kind not in ("plain", "always_cut"):
            start = int(given.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:])
        else:
            half = kind in ("cut", "always_cut") or (kind == "plain" and self.asked.count("plain") == 1 and not given)
            self._send(CONTENT, len(CONTENT) // 2 if half else None)

    def _send(self, content: bytes, n: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:n])


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server of this machine."""
    _Server.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def _get(server: str, raw: Path, kind: str, **known: Any) -> bytes:
    (path,) = download("CHAOS", raw, [RemoteFile(f"{server}/{kind}/set.zip", **known)])
    assert path == raw / "CHAOS" / "set.zip" and not list(raw.rglob("*.part"))
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["whole", "moved", "cut", "plain"])
def test_a_file_arrives_whole_whatever_happens_on_the_way(server: str, tmp_path: Path, kind: str) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert _get(server, tmp_path, kind, size=len(CONTENT), sha256=digest) == CONTENT
    if kind == "cut":
        assert [line.startswith("cut bytes=") for line in _Server.asked] == [False, True]
    n = len(_Server.asked)
    assert _get(server, tmp_path, kind) == CONTENT and len(_Server.asked) == n  # it is there already


def test_a_transfer_goes_on_where_an_earlier_command_was_cut(server: str, tmp_path: Path) -> None:
    (tmp_path / "CHAOS").mkdir()
    (tmp_path / "CHAOS/set.zip.part").write_bytes(CONTENT[:1000])
    assert _get(server, tmp_path, "whole") == CONTENT
    assert _Server.asked == ["whole bytes=1000-"]


def test_a_transfer_that_is_always_cut_says_so_and_keeps_what_came(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run the same command to go on"):
        _get(server, tmp_path, "always_cut")
    assert 0 < (tmp_path / "CHAOS/set.zip.part").stat().st_size <= len(CONTENT) // 2
    assert not (tmp_path / "CHAOS/set.zip").exists()


@pytest.mark.parametrize(
    ("kind", "known", "words"),
    [
        ("whole", {"size": 17}, "not 17"),
        ("whole", {"sha256": "0" * 64}, "sha256"),
        ("page", {}, "no archive"),
        ("missing", {}, "404"),
    ],
)
def test_another_file_than_the_wanted_one_is_not_kept(
    server: str, tmp_path: Path, kind: str, known: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        _get(server, tmp_path, kind, **known)
    assert not list((tmp_path / "CHAOS").iterdir())


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9"):
        download("CHAOS", tmp_path, [RemoteFile("http://127.0.0.1:9/set.zip")])


def test_the_command_asks_for_the_licence_and_gives_steps_for_the_others(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "read_downloads", lambda: {"CHAOS": (RemoteFile(f"{server}/whole/set.zip"),)})
    refused = CliRunner().invoke(command, ["--download", "CHAOS", "--raw", str(tmp_path)])
    assert isinstance(refused.exception, UsageError) and "CC BY-NC-SA" in refused.output and not _Server.asked
    done = CliRunner().invoke(
        command, ["--download", "CHAOS", "BUSI", "--raw", str(tmp_path), "--accept-licence"], standalone_mode=False
    )
    assert done.return_value == 1 and "BUSI: no public direct link. Download the archive" in done.output
    assert (tmp_path / "CHAOS/set.zip").read_bytes() == CONTENT


def test_the_table_names_known_sets_and_encrypted_links() -> None:
    for name, files in downloading.read_downloads().items():
        assert downloading.find_links([name], {name: files}) == ([name], [])
        assert all(file.url.startswith("https://") and file.name for file in files)
