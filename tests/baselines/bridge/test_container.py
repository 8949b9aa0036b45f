"""A model in a container, without root where the machine allows it, has the digest of the run in process.

The image is made here, of this very interpreter and its numpy: no registry is asked. Where no engine can run it, the
tests say why and are skipped.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.errors import DataError
from dmseg.results import open_run, run_digest

pytestmark = pytest.mark.slow

MODELS = Path(__file__).with_name("models_elsewhere.py")
IMAGE = "localhost/dmseg-bridge-test:1"
SETTINGS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
{runtime}
"""
STORAGE = """
[storage]
driver = "vfs"
graphroot = "{folder}/storage"
rootless_storage_path = "{folder}/storage"
runroot = "{folder}/run"
[storage.options.vfs]
ignore_chown_errors = "true"
"""


def list_libraries(files: list[Path]) -> set[Path]:
    """Return the shared libraries that programs and extensions load."""
    found = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False).stdout
    return {Path(name) for name in re.findall(r"(/\S+)", found) if ".so" in name and Path(name).is_file()}


def write_image(tar: Path, folder: Path) -> None:
    """Write a root file system of this interpreter, its standard library and numpy, each at its own path."""
    library = Path(sysconfig.get_path("stdlib"))
    program = Path(sys.executable).resolve()
    unneeded = shutil.ignore_patterns(
        "site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "*.a"
    )
    shutil.copytree(library, folder / library.relative_to("/"), ignore=unneeded)
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (packages / name).is_dir():
            shutil.copytree(packages / name, folder / "packages" / name, ignore=unneeded)
    (folder / program.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, folder / program.relative_to("/"))
    extensions = [*library.rglob("*.so"), *packages.glob("numpy/**/*.so"), program]
    for path in list_libraries(extensions):
        place = folder / path.relative_to("/")
        if not place.exists() and "numpy.libs" not in path.parts:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    for name in ("tmp", "proc", "sys", "dev", "etc", "model"):
        (folder / name).mkdir(exist_ok=True)
    subprocess.run(["tar", "-C", str(folder), "-cf", str(tar), "."], check=True)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine that has the image and runs it; podman gets settings and a store of this test's own."""
    folder = tmp_path_factory.mktemp("containers")
    present = [name for name in ("podman", "docker") if shutil.which(name)]
    if not present or not shutil.which("ldd"):
        pytest.skip("neither podman nor docker is installed here")
    runtime = next((name for name in ("runc", "crun") if shutil.which(name)), None)
    (folder / "containers.conf").write_text(SETTINGS.format(runtime=f'runtime = "{runtime}"' if runtime else ""))
    (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
    names = {"CONTAINERS_CONF": folder / "containers.conf", "CONTAINERS_STORAGE_CONF": folder / "storage.conf"}
    write_image(folder / "image.tar", folder / "image")
    reasons = []
    with pytest.MonkeyPatch.context() as patch:
        for name, place in names.items():
            patch.setenv(name, str(place))
        for name in present:
            probe = ["run", "--rm", "--network", "none", IMAGE, str(Path(sys.executable).resolve()), "-c", "print(1)"]
            for command in (["import", str(folder / "image.tar"), IMAGE], probe):
                found = subprocess.run([name, *command], capture_output=True, text=True, check=False, timeout=300)
                if found.returncode:
                    reasons.append(f"{name} {command[0]}: {found.stderr.strip()[-200:]}")
                    break
            else:
                yield name
                subprocess.run([name, "rmi", "--force", IMAGE], capture_output=True, check=False)
                return
    pytest.skip("; ".join(reasons))


def write_bridge(folder: Path, engine: str, image: str = IMAGE) -> str:
    shutil.copy(MODELS, folder)
    options = f'["-e", "PYTHONPATH=/packages", "-e", "PYTHONHOME={sys.base_prefix}"]'
    program = Path(sys.executable).resolve()
    (folder / "b.toml").write_text(
        f'model = "models_elsewhere.py:Grower"\n[container]\nengine = "{engine}"\nimage = "{image}"\n'
        f'python = "{program}"\noptions = {options}\n'
    )
    return f"bridge:{folder / 'b.toml'}"


def test_a_run_in_a_container_has_the_digest_of_the_run_in_process(engine: str, tmp_path: Path) -> None:
    bench = write_tiny_benchmark(tmp_path / "tiny", levels=("clear", "lq1"))
    harness.evaluate(f"{MODELS}:Grower", bench, tmp_path / "in")
    harness.evaluate(write_bridge(tmp_path, engine), bench, tmp_path / "contained")
    assert run_digest(tmp_path / "contained") == run_digest(tmp_path / "in")
    record = open_run(tmp_path / "contained").info["model"]["bridge"]
    assert (record["network"], record["files"], record["command"]) == ("none", "hidden", engine)
    assert re.fullmatch(r"(sha256:)?[0-9a-f]{64}", record["image"])
    assert record["python"] == sys.version.split()[0]


def test_what_dies_in_a_container_costs_its_own_rows_only(engine: str, tmp_path: Path) -> None:
    bench = write_tiny_benchmark(tmp_path / "tiny", levels=("clear",))
    harness.evaluate(write_bridge(tmp_path, engine), bench, tmp_path / "run", arguments={"fault": "die"})
    steps = open_run(tmp_path / "run").steps
    failed = steps[steps["status"] != "ok"]
    assert 0 < failed["mask_id"].nunique() < steps["mask_id"].nunique()


def test_an_image_that_is_not_there_is_named(engine: str, tmp_path: Path) -> None:
    bench = write_tiny_benchmark(tmp_path / "tiny", levels=("clear",))
    with pytest.raises(DataError, match='has no image "localhost/nothing:1"'):
        harness.evaluate(write_bridge(tmp_path, engine, "localhost/nothing:1"), bench, tmp_path / "run")
    assert not (tmp_path / "run").exists()
