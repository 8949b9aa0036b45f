"""``dmseg doctor``: what is installed and what was found, to paste into an issue."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import click

from dmseg.version import __version__

_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-image",
    "opencv-python-headless",
    "opencv-python",
    "numba",
    "pillow",
    "pydicom",
    "nibabel",
    "pandas",
    "pyarrow",
    "torch",
    "torchvision",
    "timm",
)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_devices() -> str:
    """Say what torch sees, or why it cannot be imported; never raises: this is where users look for the reason."""
    if _version("torch") is None:
        return "torch is not installed; network models need: pip install 'dmseg-bench[models]'"
    try:
        import torch
    except Exception as error:  # whatever a broken installation raises is the finding
        return f"torch cannot be imported: {type(error).__name__}: {error}"
    if not torch.cuda.is_available():
        return "cpu"
    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def findings() -> dict[str, Any]:
    """Return the facts that matter when something does not work: versions, devices, folders, warnings."""
    from dmseg import build

    cache = build.cache_folder()
    versions = {package: _version(package) for package in _PACKAGES}
    warnings = []
    if versions["opencv-python"] and versions["opencv-python-headless"]:
        warnings.append(
            "opencv-python and opencv-python-headless are both installed and overwrite each other; "
            "keep one: pip uninstall opencv-python"
        )
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        warnings.append(f"the cache folder {cache} cannot be written; set DMSEG_CACHE to one that can")
    return {
        "dmseg": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "packages": versions,
        "devices": _torch_devices(),
        "cache": str(cache),
        "cache_free_gb": round(shutil.disk_usage(existing).free / 1e9, 1),
        "real_data": os.environ.get("DMSEG_REAL_DATA"),
        "installed_from": str(Path(__file__).parents[1]),
        "warnings": warnings,
    }


@click.command(epilog="Example: dmseg doctor --json > doctor.json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Print what is installed and what was found, to paste into an issue.

    \b
    Example:
      dmseg doctor
    """
    facts = findings()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for package, version in value.items():
                click.echo(f"  {package:24} {version or '-'}")
        elif isinstance(value, list):
            click.echo(f"{name}: {'none' if not value else ''}")
            for line in value:
                click.echo(f"  ! {line}")
        else:
            click.echo(f"{name}: {value if value is not None else '-'}")
