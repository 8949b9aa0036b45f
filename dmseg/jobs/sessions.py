"""Facts about the machine and the versions of a session; never part of a result's identity."""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("dmseg-bench", "numpy", "scipy", "scikit-image", "opencv-python-headless", "pandas", "pyarrow", "torch")


def session_facts(device: str, jobs: int, shard: str) -> dict[str, Any]:
    """Return what is worth knowing about this process: versions, machine, device, start (UTC)."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and device.startswith("cuda") and torch.cuda.is_available()
    return {
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "cpus": os.cpu_count(),
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if torch is not None and on_gpu else None,
        "jobs": jobs,
        "shard": shard,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def peak_memory() -> int | None:
    """Return the most memory that this process has held, in bytes; None where the system does not say.

    On Linux it is VmHWM: ``ru_maxrss`` there begins with what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    if importlib.util.find_spec("resource") is None:
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
