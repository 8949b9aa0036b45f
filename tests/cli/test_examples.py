"""Every example of ``--help``, and the paths of the README for five aims, run in a folder with files of their names."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from documented import list_commands, list_examples

from dmseg import build, phantoms
from dmseg.cli import COMMANDS, group
from dmseg.imaging import write_png

pytestmark = pytest.mark.slow

NOT_RUN = {
    "datasets --download": "needs the network",
    "weights --download": "needs the network",
    "evaluate --model onnx:": "needs files that export-model writes of weights that do not ship",
    "export-model lite-medsam": "needs weights that do not ship",
    "explain scan.png --model lite-pge-sam": "needs weights that do not ship",
    "train mini-pge-sam": "trains for an hour; its preset is tested in tests/training",
    "train mini-sam": "trains for an hour; its preset is tested in tests/training",
    "train my.toml": "needs weights that do not ship, and two GPUs",
    "models --flops": "builds every network, minutes; tested in tests/baselines",
    "table runs/sam runs/moce": "needs runs of the natural track; tested in tests/results",
    "table runs/lisa runs/ufo": "needs runs with text prompts; tested in tests/results",
    "table runs/sam-tight": "needs runs of three box presets; tested in tests/results",
    "build --out photos --track natural": "draws 192 photographs; tested in tests/build",
}
"""Examples that cannot run here, by how they begin, and why."""
INSTEAD = {
    "datasets --raw downloads": "datasets --raw raw",
    "build --raw raw --out bench --datasets BUSI,FLARE": "build --raw raw --out bench --datasets BUSI,Kvasir-SEG",
    "compare watershed runs/": "compare watershed --root board runs/",
    "evaluate --model their.py:Model --weights their.pth": "evaluate --model mymodel.py:MyModel",
    "leaderboard challenge my-model/2026-11-20-1a2b3c4d --beacon 8d61...": (
        "leaderboard challenge watershed --beacon 8d61aa55f00d"
    ),
    "leaderboard challenge my-model": "leaderboard challenge mine",
    "leaderboard audit my-model": "leaderboard audit --data bench mine",
    "leaderboard confirm their-model": "leaderboard confirm mine",
    "submit answer challenge.json runs/mine --model my.py:Model": (
        "submit answer challenge.json runs/mine --model mymodel.py:MyModel"
    ),
    "manifest diff bench dm-seg-phantom-2.0": "manifest diff bench dmseg/manifests/dm-seg-phantom-2.0",
    "verify bench --sample 2%": "verify bench --sample 50%",
}
"""Names that only their owner has, by how the example begins."""
SHORTER = {
    "demo": "--per-dataset 1 --jobs 1",
    "phantom": "--per-dataset 1",
    "build": "--jobs 1",
    "evaluate": "--jobs 1",
    **{f"leaderboard {name}": "--root board" for name in ("add", "build", "challenge", "audit", "confirm")},
}
"""What keeps a command small, in this process, or away from the checkout's own record."""
_ENTRY = ["submit pack runs/mine -o mine.zip", "leaderboard add mine.zip --root board"]
BEFORE = {
    "build --raw raw --out bench --manifest": [
        "build --raw raw --out other",
        "manifest export other -o paper.zip",
        "manifest export other -o mine.zip",
    ],
    "build --raw my-scans --recipe my-scans.toml --out bench": [
        "init-recipe my-scans --modality ultrasound --out my-scans.toml --force"
    ],
    "build --raw my-scans --manifest": [
        "build --raw my-scans --recipe my-scans.toml --out own",
        "manifest export own -o mine.zip",
    ],
    "compare watershed runs/": ["leaderboard add runs/watershed --root board"],
    "compare watershed --root": ["leaderboard add runs/watershed --root board"],
    "leaderboard add": _ENTRY[:1],
    "leaderboard challenge watershed": ["leaderboard add runs/watershed --root board"],
    "leaderboard audit": ["submit answer challenge.json runs/mine -o answer.jsonl.gz"],
    "submit answer": [*_ENTRY, "leaderboard challenge mine --root board -o challenge.json"],
    "manifest diff bench dmseg": [
        "manifest export bench -o dmseg/manifests/dm-seg-phantom-2.0 --edition dm-seg-phantom --version 2.0"
    ],
}
"""What somebody did before, by how the example begins."""
WRITES_BENCH = ("build", "merge", "phantom", "demo")
MODEL = """
import numpy as np


class MyModel:
    name, license = "mine", "MIT"
    capabilities = frozenset({"points", "negative_points", "box"})

    def __init__(self, width=8):
        self.width = float(width)

    def encode(self, images):
        return [one.shape[:2] for one in images]

    def predict(self, embeddings, image_index, prompts, state):
        height, width = embeddings[image_index[0]]
        y, x = np.mgrid[:height, :width]
        return np.stack([self.draw(x, y, one) for one in prompts])

    def draw(self, x, y, given):
        places = given.points[given.labels == 1]
        at = places.mean(axis=0) if len(places) else (given.box[:2] + given.box[2:]) / 2
        return self.width - np.hypot(x - at[0], y - at[1])
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the examples name."""
    top = tmp_path_factory.mktemp("workshop")
    phantoms.write_phantoms(top / "raw", per_dataset=1, datasets=["BUSI", "Kvasir-SEG"])
    build.build(top / "raw", top / "bench")
    shutil.copytree(top / "bench", top / "BENCH")
    image = np.tile(np.linspace(20, 230, 200).astype(np.uint8), (160, 1))
    mask = np.zeros((160, 200), bool)
    mask[60:100, 80:140] = True
    image[mask] = 240
    for name in ("scan", "chest", "image"):
        write_png(top / f"{name}.png", image)
    for folder in ("scans", "my-scans/images", "raw/mine/images"):
        write_png(top / folder / "case1.png", image)
    for name in ("lesion.png", "reference/a.png", "labels/a.png", "predicted/a.png", "my-scans/masks/case1.png"):
        write_png(top / name, mask.astype(np.uint8) * 255)
    write_png(top / "raw/mine/masks/case1.png", mask.astype(np.uint8) * 255)
    for name in ("chest", "scan", "slice"):
        _write_dicom(top / f"{name}.dcm", image)
    write_png(top / "liver.png", mask.astype(np.uint8) * 255)
    write_png(top / "deeplesion" / "000001_01_01" / "103.png", image.astype(np.uint16) + 32768)
    volume = nibabel.Nifti1Image(np.dstack([image.T] * 3).astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
    nibabel.save(volume, top / "knee.nii.gz")
    organ = nibabel.Nifti1Image(np.dstack([mask.T] * 3).astype(np.uint8), np.diag([1.0, 1.0, 3.0, 1.0]))
    (top / "labelsTr").mkdir()
    (top / "volumes").mkdir()
    nibabel.save(organ, top / "labelsTr" / "a_0000.nii.gz")
    nibabel.save(organ, top / "volumes" / "a_0000.nii.gz")
    for name in ("mymodel.py", "mine.py", "my.py"):
        (top / name).write_text(MODEL)
    for name, model in (("disk", "disk"), ("watershed", "watershed"), ("mine", "mymodel.py:MyModel")):
        _run(top, ["evaluate", "--model", model, "--data", "bench", "--out", f"runs/{name}", "--keep-predictions"])
    shutil.copytree(top / "runs" / "disk", top / "runs" / "sam")
    return top


def _write_dicom(path: Path, image: np.ndarray) -> None:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    made = pydicom.Dataset()
    made.file_meta, made.SOPClassUID, made.SOPInstanceUID = meta, meta.MediaStorageSOPClassUID, "1.2.3.4"
    made.Modality, made.SamplesPerPixel, made.PhotometricInterpretation = "CT", 1, "MONOCHROME2"
    made.Rows, made.Columns = image.shape
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 1
    made.RescaleSlope, made.RescaleIntercept, made.PixelSpacing = 1, -1024, [1.0, 1.0]
    made.PixelData = (image.astype(np.int16) * 6).tobytes()
    made.save_as(path, enforce_file_format=True)


def _run(folder: Path, words: list[str], allowed: Container[int] = (0,)) -> str:
    with contextlib.chdir(folder):
        found = CliRunner().invoke(group, words, standalone_mode=False)
    said = f"dmseg {shlex.join(words)}\n{found.output}\n{found.exception!r}"
    assert found.exception is None and (found.return_value or 0) in allowed, said
    return found.output


@pytest.fixture
def try_command(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Return a call that runs a command in a copy of the workshop, with what comes before it."""
    folder = tmp_path / "here"
    shutil.copytree(workshop, folder)
    monkeypatch.setattr(build, "phantom_raw", lambda *_, **__: folder / "raw")
    monkeypatch.setattr("dmseg.build.run.phantom_raw", lambda *_, **__: folder / "raw")
    monkeypatch.setattr(build, "phantom_benchmark", lambda *_, **__: folder / "BENCH")
    monkeypatch.setattr("dmseg.click.server.serve", lambda app, token, port, announce: announce("http://127.0.0.1:1/"))
    monkeypatch.setattr("click.launch", lambda address: 0)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    done: set[str] = set()

    def call(words: list[str]) -> None:
        text = shlex.join(words)
        for beginning, other in INSTEAD.items():
            if text.startswith(beginning):
                text = other + text.removeprefix(beginning)
        for beginning, commands in BEFORE.items():
            if text.startswith(beginning) and beginning not in done:
                done.add(beginning)
                for command in commands:
                    _run(folder, shlex.split(command))
        if "--3d" in text:
            text = text.replace("predicted/", "volumes/")
        words = [str(path) for word in shlex.split(text) for path in _expand(folder, word)]
        more = next((more for beginning, more in SHORTER.items() if text.startswith(beginning)), "")
        _run(folder, [*words, *more.split()], {0, 1} if "--strict" in words else {0})

    call.folder = folder  # type: ignore[attr-defined]
    return call


def _expand(folder: Path, word: str) -> Iterator[str]:
    """Do what a shell does with ``*``."""
    if "*" in word:
        yield from sorted(str(path.relative_to(folder)) for path in folder.glob(word))
    else:
        yield word


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_a_help_text_run(name: str, try_command: Callable[[list[str]], None]) -> None:
    folder: Path = try_command.folder  # type: ignore[attr-defined]
    if name in WRITES_BENCH:
        shutil.rmtree(folder / "bench")
    if name == "evaluate":
        shutil.rmtree(folder / "runs")
    for words in list_examples(name):
        if any(" ".join(words).startswith(beginning) for beginning in NOT_RUN):
            continue
        if name == "build":
            shutil.rmtree(folder / "bench", ignore_errors=True)
        if words[:2] == ["phantom", "--out"]:
            shutil.rmtree(folder / words[2], ignore_errors=True)
        try_command(words)


def test_what_is_not_run_is_still_an_example() -> None:
    examples = [" ".join(words) for name in COMMANDS for words in list_examples(name)]
    assert [one for one in NOT_RUN if not any(text.startswith(one) for text in examples)] == []


README = Path(__file__).parents[2] / "README.md"
_AIM = re.compile(r"^\*\*(.+?)\*\*:(.*?)(?=^\*\*|^## )", re.DOTALL | re.MULTILINE)
_SHELL = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
AIMS = dict(
    _AIM.findall(README.read_text(encoding="utf-8").split("## Five aims")[1].split("\n## All commands")[0] + "\n## ")
)


def test_there_are_five_aims_of_at_most_five_commands() -> None:
    assert len(AIMS) == 5
    for aim, text in AIMS.items():
        lines = [line for block in _SHELL.findall(text) for line in block.splitlines()]
        assert 1 <= len(lines) <= 5, aim


@pytest.mark.parametrize("aim", AIMS)
def test_the_path_of_an_aim_runs(aim: str, try_command: Callable[[list[str]], None]) -> None:
    folder: Path = try_command.folder  # type: ignore[attr-defined]
    shutil.rmtree(folder / "bench")
    if "dmseg evaluate" in AIMS[aim]:
        shutil.rmtree(folder / "runs")
    else:  # the run that an earlier path made
        shutil.copytree(folder / "runs" / "disk", folder / "runs" / "mini-pge-sam")
    for words in list_commands("\n".join(_SHELL.findall(AIMS[aim]))):
        if "clicks/prompts.parquet" in words:  # nobody clicked here: the prompts of a run stand for a person's
            _run(folder, ["evaluate", "--model", "disk", "--data", "BENCH", "--limit", "1", "--out", "clicks"])
        try_command(words)
