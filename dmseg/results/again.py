"""The command that makes a run again, with every option that its rows depend on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from dmseg.baselines import RESTORER_PREFIX, model_cards, restorer_cards
from dmseg.baselines.weights import list_shipped
from dmseg.manifests import find_published_header
from dmseg.protocol import PRESETS
from dmseg.types import LEVELS


def write_command(info: Mapping[str, Any], *, data: str = "BENCH", out: str = "RUN") -> str:
    """Return the ``dmseg evaluate`` command of a run, quoted for a POSIX shell; words in capitals are for the reader.

    Args:
        info: content of run.json.
        data: the benchmark folder; left out where it is the phantom edition, which the command finds itself.
        out: the run folder.

    >>> from dmseg.types import LEVELS
    >>> benchmark = {"manifest_digest": "", "split": ["seen"], "levels": LEVELS, "limit": 2}
    >>> protocol = {"preset": "box", "corrective": None, "seed": 1}
    >>> write_command({"model": {"name": "disk"}, "benchmark": benchmark, "protocol": protocol}, data="B", out="R")
    'dmseg evaluate --model disk --data B --out R --preset box --split seen --limit 2 --seed 1'
    """
    model, protocol, benchmark = info["model"], info["protocol"], info["benchmark"]
    metrics = _read_mapping(info, "metrics")
    card = model_cards().get(model["name"].rpartition("+")[2])
    named = info.get("given_model") or (model["name"] if card is not None else "FILE.py:CLASS")
    parts = ["dmseg", "evaluate", "--model", str(named)]
    parts += _list_arguments(model, card.arguments if card is not None else {})
    restorer = _read_mapping(model, "restorer")
    known = restorer_cards().get(str(restorer.get("name")))
    parts += _list_arguments(restorer, known.arguments if known is not None else {}, RESTORER_PREFIX)
    if not _is_phantom_edition(benchmark["manifest_digest"]):
        parts += ["--data", data]
    parts += ["--out", out, "--preset", str(protocol["preset"])]
    preset = PRESETS.get(protocol["preset"])
    options = [
        ("--corrective", protocol.get("corrective"), None if preset is None else preset.corrective),
        ("--prompts", "FILE" if protocol.get("prompts_sha256") else None, None),
        ("--split", ",".join(benchmark["split"]), None),
        ("--levels", ",".join(benchmark["levels"]), ",".join(LEVELS)),
        ("--limit", benchmark.get("limit"), None),
        ("--seed", protocol["seed"], None),
        ("--precision", info.get("precision"), "fp32"),
        ("--chunk", info.get("chunk"), None),
        ("--batch-images", info.get("batch_images"), 1),
        ("--grid", metrics.get("grid"), "native"),
        ("--boundary", metrics.get("boundary"), "vertex"),
        ("--hd95", metrics.get("hd95"), "directed"),
        ("--submitter", info.get("submitter"), None),
    ]
    for option, value, default in options:
        if value is not None and value != default:
            parts += [option, str(value)]
    if model.get("weights_sha256") and not list_shipped().get(model["name"]):
        parts += ["--weights", "FILE"]
    if restorer.get("weights_sha256"):
        parts += ["--restorer-weights", "FILE"]
    return shlex.join(parts)


def _read_mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of run.json that may lack, or be anything where others wrote it; then it says nothing."""
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}


def _list_arguments(model: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "") -> list[str]:
    given = model.get("arguments")
    parts = []
    for key, value in sorted(given.items()) if isinstance(given, Mapping) else ():
        if key not in defaults or json.dumps(defaults[key]) != json.dumps(value):
            parts += ["--model-arg", f"{prefix}{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return parts


def _is_phantom_edition(manifest_digest: str) -> bool:
    """Tell whether ``dmseg evaluate`` without --data runs on this benchmark."""
    header = find_published_header(manifest_digest)
    return header is not None and str(header["edition"]).endswith("-phantom")
