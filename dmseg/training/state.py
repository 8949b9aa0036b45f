"""The saved state of a run: everything that the next batch depends on, as plain tensors and numbers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from dmseg.errors import DataError
from dmseg.files import atomic_path

FORMAT = "dmseg-train-state/2"
FILE = "last.ckpt"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state atomically."""
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def load_state(path: Path, config_digest: str, benchmark_digest: str, base_sha256: str) -> dict[str, Any] | None:
    """Return the state to go on from, None where there is none; nothing in the file is executed.

    Raises:
        DataError: the file is damaged, no state, or of a run with other choices, benchmark or base weights.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable training state ({reason}); remove it to start anew") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: not a training state of this dmseg ({FORMAT}); remove it to start anew")
    for field, wanted, what in (
        ("config", config_digest, "with other choices"),
        ("benchmark", benchmark_digest, "on another benchmark"),
        ("base_sha256", base_sha256, "on other base weights"),
    ):
        if state.get(field) != wanted:
            raise DataError(f"{path.parent}: holds a run {what}; give another --out, or the same command as before")
    return state
