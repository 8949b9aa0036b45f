"""How the other side of a bridge is started: a bridge file, or the isolation of a model that could run in process."""

from __future__ import annotations

import ast
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmseg import tables
from dmseg.baselines.bridge import dmseg_bridge
from dmseg.baselines.bridge.adapter import START_S, Bridge, Start
from dmseg.baselines.bridge.process import ModelProcess
from dmseg.baselines.cards import model_cards
from dmseg.baselines.registry import EXPORTED
from dmseg.errors import DataError, MissingDependencyError, UsageError, unknown_name

SHIPPED = Path(__file__).parent / "shipped"
"""Adapters for environments of their own."""
ENGINES = ("docker", "podman", "apptainer")
_INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "SYSTEMROOT", "USERPROFILE", "SSH_AUTH_SOCK"),
    *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
)
_OF_ENGINES = (
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
    *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS", "APPTAINER_CACHEDIR"),
)
"""Where a container engine finds its daemon, its settings and its images; nothing of it reaches the container."""
_OWN = ("PYTHONPATH", "VIRTUAL_ENV", "NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "DMSEG_CACHE")
"""What a process of this very interpreter needs besides."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container image: engine (docker, podman, apptainer), image, whether it gets GPUs, its Python, more options."""

    engine: str
    image: str
    gpus: bool = False
    python: str = "python3"
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BridgeFile:
    """A bridge file (TOML).

    Attributes:
        model: ``file.py:Class``, ``pkg.mod:Class`` or a function, as the other side sees it.
        python: interpreter of the other environment.
        command: the whole command instead (``ssh`` and the like); ``{bridge}`` stands for the path of
            ``dmseg_bridge.py``, ``{model}`` for the model.
        container: a container instead.
        folder: working folder, relative to the bridge file.
        timeout_s, start_s: seconds for one answer (none: no limit) and for loading.
        environment: variables that the other side gets besides.
        name: the name that the run goes by; default: the model's own.
    """

    model: str
    python: str | None = None
    command: tuple[str, ...] = ()
    container: Container | None = None
    folder: str = "."
    timeout_s: float | None = None
    start_s: float = START_S
    environment: dict[str, str] = field(default_factory=dict)
    name: str | None = None


def load_bridge(
    place: str, weights: str | Path | None, device: str, arguments: Mapping[str, Any], precision: str
) -> Bridge:
    """Return the model that a bridge file describes, started.

    Raises:
        DataError: no such file, or not a bridge file.
        ModelError: it does not start.
    """
    path = Path(place)
    described = tables.record(BridgeFile, tables.file_table(path), str(path))
    given = [name for name in ("python", "command", "container") if getattr(described, name)]
    if len(given) != 1:
        said = " and ".join(given) or "none of them"
        raise DataError(f"{path}: give exactly one of python, command and container; it gives {said}")
    folder = (path.parent / described.folder).resolve()
    if not folder.is_dir():
        raise DataError(f"{path}: folder {folder} does not exist; give a folder relative to the bridge file")
    names = (*_INHERITED, *(_OF_ENGINES if described.container is not None else ()))
    environment = _pick_environment(names) | described.environment
    command, image = _build_command(described, folder, path, environment)
    hello = _write_hello(weights, device, arguments, precision)
    start = Start(
        lambda walls, log: ModelProcess(command, environment, folder, log),
        hello,
        described.start_s,
        described.timeout_s,
    )
    bridge = Bridge(start, described.name)
    bridge.environment |= {"command": command[0], "image": image, "network": "shared", "files": "visible"}
    if described.container is not None:
        bridge.environment |= {"network": "none", "files": "hidden"}
    return bridge


def load_shipped(
    name: str,
    weights: str | Path | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    python: str = "",
    **arguments: Any,
) -> Bridge:
    """Return a model whose adapter ships and whose packages live in an environment of their own, started there.

    Args:
        name: of the model; ``shipped/NAME_adapter.py`` is its adapter, ``shipped/NAME.txt`` lists its packages.
        python: the interpreter of that environment.
        arguments: of the adapter's constructor.

    Raises:
        UsageError: no interpreter is given; the message says how the environment is made.
        ModelError: it does not start.
    """
    packages = SHIPPED / f"{name}.txt"
    if not python:
        raise UsageError(
            f'model "{name}" runs in an environment of its own. Make it once: python -m venv ENV; '
            f"ENV/bin/pip install -r {packages}; then give --model-arg python=ENV/bin/python"
        )
    adapter = SHIPPED / f"{name}_adapter.py"
    described = BridgeFile(f"{adapter.name}:{find_class(adapter)}", python)
    environment = _pick_environment(_INHERITED)
    command, _ = _build_command(described, SHIPPED, packages, environment)
    place = weights if weights in (None, "random") else Path(str(weights)).absolute()
    given = {key: _find_path(value) for key, value in arguments.items()}
    hello = _write_hello(place, device, given, precision)
    bridge = Bridge(Start(lambda walls, log: ModelProcess(command, environment, SHIPPED, log), hello), name)
    bridge.card = name
    bridge.environment |= {"command": command[0], "image": None, "network": "shared", "files": "visible"}
    return bridge


def find_class(adapter: Path) -> str:
    """Return the name of the one class of a shipped adapter's file."""
    tree = ast.parse(adapter.read_text(encoding="utf-8"))
    (found,) = (node.name for node in tree.body if isinstance(node, ast.ClassDef))
    return found


def _write_hello(
    weights: str | Path | None, device: str, arguments: Mapping[str, Any], precision: str
) -> dict[str, Any]:
    place = None if weights is None else str(weights)
    return {"weights": place, "device": device, "arguments": dict(arguments), "precision": precision, "seed": 0}


def _pick_environment(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _find_path(value: Any) -> Any:
    """Return a path that exists from here on, wherever the other side works; anything else as it is."""
    return str(Path(value).absolute()) if isinstance(value, str) and value and Path(value).exists() else value


def _build_command(
    described: BridgeFile, folder: Path, path: Path, environment: Mapping[str, str]
) -> tuple[list[str], str | None]:
    """Return the command, and the digest of a container's image."""
    script = Path(dmseg_bridge.__file__)
    if described.command:
        places = {"{bridge}": str(script), "{model}": described.model}
        return [places.get(word, word) for word in described.command], None
    if described.container is None:
        interpreter = str(Path(str(described.python)).expanduser())
        found = shutil.which(interpreter, path=os.environ.get("PATH")) or shutil.which(str(folder / interpreter))
        if found is None:
            raise DataError(f'{path}: python = "{described.python}": no such program; give the path of an interpreter')
        return [str(Path(found).absolute()), str(script), described.model], None
    return _build_container_command(described.container, described.model, script, folder, environment)


def _build_container_command(
    container: Container, model: str, script: Path, folder: Path, environment: Mapping[str, str]
) -> tuple[list[str], str | None]:
    if container.engine not in ENGINES:
        raise unknown_name("container engine", container.engine, ENGINES)
    if shutil.which(container.engine) is None:
        raise MissingDependencyError(f"{container.engine} is not installed here; install it, or name another engine")
    inside = [container.python, "/dmseg_bridge.py", model]
    if container.engine == "apptainer":
        gpus = ["--nv"] if container.gpus else []
        mounts = ["--bind", f"{script}:/dmseg_bridge.py:ro,{folder}:/model:ro"]
        options = ["--containall", "--net", "--network", "none", "--pwd", "/model", *gpus, *mounts, *container.options]
        return ["apptainer", "exec", *options, container.image, *inside], None
    gpus = ["--gpus", "all"] if container.gpus else []
    mounts = ["-v", f"{script}:/dmseg_bridge.py:ro", "-v", f"{folder}:/model:ro", "-w", "/model"]
    options = ["--rm", "-i", "--network", "none", *gpus, *mounts, *container.options]
    return [container.engine, "run", *options, container.image, *inside], _find_image(container, environment)


def _find_image(container: Container, environment: Mapping[str, str]) -> str | None:
    asked = [container.engine, "image", "inspect", "--format", "{{.Id}}", container.image]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, env=dict(environment))
    if answer.returncode != 0:
        raise DataError(
            f'{container.engine} has no image "{container.image}" here '
            f"({answer.stderr.strip()[:200]}); pull or build it"
        )
    return answer.stdout.strip()


# ---------------------------------------------------------------- isolation


def load_isolated(
    name: str,
    weights: str | Path | None,
    device: str,
    arguments: Mapping[str, Any],
    precision: str,
    hidden: Sequence[Path],
) -> Bridge:
    """Return a model of this environment in a process of its own, which sees neither the folders ``hidden`` nor, where
    the system allows it, a network.

    Raises:
        UsageError: a model that lies in a hidden folder.
        ModelError: it does not start.
    """
    for place in _list_places(name, weights):
        for folder in hidden:
            if place.resolve().is_relative_to(folder.resolve()):
                raise UsageError(f"{place} lies in {folder}, which an isolated model must not see; move it elsewhere")
    command = [sys.executable, dmseg_bridge.__file__, f"dmseg:{name}"]
    environment = _pick_environment((*_INHERITED, *_OWN))
    walled = _can_unshare()
    start = Start(
        lambda walls, log: ModelProcess([*walls, *command], environment, Path.cwd(), log),
        _write_hello(weights, device, arguments, precision),
        walls=lambda: _build_walls(hidden) if walled else (),
    )
    bridge = Bridge(start)
    bridge.card = name if name in model_cards() else None
    bridge.environment |= {"command": "isolated", "image": None}
    bridge.environment |= (
        {"network": "none", "files": "hidden"} if walled else {"network": "shared", "files": "visible"}
    )
    return bridge


def _list_places(name: str, weights: str | Path | None) -> list[Path]:
    prefix, _, given = name.partition(":")
    files = (
        given.split(",") if prefix in EXPORTED else [file for file in [name.rpartition(":")[0]] if file[-3:] == ".py"]
    )
    return [Path(place) for place in (*files, weights) if place is not None]


def _build_walls(hidden: Sequence[Path]) -> tuple[str, ...]:
    """Return the words before a command that take the network, other processes and folders from it.

    Linux namespaces (``unshare``): an empty folder stands in the place of each hidden one that exists.
    """
    places = [str(folder.resolve()) for folder in hidden if folder.is_dir()]
    return (*_UNSHARE, "sh", "-c", _HIDE, "walls", str(len(places)), *places)


_HIDE = """
count=$1; shift
while [ "$count" -gt 0 ]; do mount -t tmpfs -o ro none "$1" || exit 97; shift; count=$((count - 1)); done
exec "$@"
"""
_UNSHARE = ("unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@functools.cache
def _can_unshare() -> bool:
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    probe = [*_UNSHARE, "sh", "-c", "mount -t tmpfs -o ro none /mnt"]
    return subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 0
