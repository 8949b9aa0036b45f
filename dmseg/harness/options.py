"""What a run is asked to do: the choices that its results depend on, and the key made of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmseg.build import Benchmark, name_track
from dmseg.canonical import digest, plain
from dmseg.errors import UsageError, unknown_name
from dmseg.files import sha256_file
from dmseg.metrics import BOUNDARIES, HD95_RULES, TOLERANCES
from dmseg.protocol import PROTOCOL_ID, Preset, preset
from dmseg.results.columns import SCHEMA_VERSION
from dmseg.types import LEVELS, SPLITS
from dmseg.version import __version__

DEFAULT_CHUNK = {"cpu": 4, "cuda": 32}
"""Masks per call of a model by kind of device: on a CPU the time per mask grows beyond 4, on a GPU it falls to 32."""
PRECISIONS: tuple[str, ...] = ("fp32", "bf16", "fp16")
_KEY_PARTS = (
    "schema_version",
    "dmseg",
    "protocol",
    "benchmark",
    "model",
    "chunk",
    "precision",
    "metrics",
    "batch_images",
)
_FOLDERS = re.compile(r"[^+:]*[/\\]")
_OWN_MODEL_KEY = ("source_sha256", "files")
"""Only of models that users bring; where they are absent, the key is that of a model that ships."""
_MODEL_KEY = ("name", "version", "weights_sha256", "arguments", "mode")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The choices of one run that its rows depend on, apart from model and benchmark.

    Attributes:
        preset, corrective: see :func:`dmseg.protocol.preset`; corrective None is the preset's own rule.
        seed: seed of the prompts.
        splits, levels: what is evaluated, in benchmark order.
        limit: at most so many images of each dataset, or None.
        chunk: masks per call of the model.
        batch_images: (image, level) items of one work unit, encoded in one call.
        precision: fp32, bf16 or fp16.
        grid: longest side of the grid that metrics are computed on, or None for the stored grid.
        boundary, hd95: see :func:`dmseg.metrics.score`.
        prompts: a ``prompts.parquet`` to replay in place of the simulated user, or None.
        timeout: seconds that one call of the model may take, or None. Not part of the key.
        serial: on a GPU, too, all questions about one image before the next one is encoded. Not part of the key.
        keep_predictions: whether all predictions are kept, not only the audited ones. Not part of the key.
    """

    preset: str = "dmseg"
    corrective: str | None = None
    seed: int = 0
    splits: tuple[str, ...] = ("seen", "unseen")
    levels: tuple[str, ...] = LEVELS
    limit: int | None = None
    chunk: int = DEFAULT_CHUNK["cpu"]
    batch_images: int = 1
    precision: str = "fp32"
    grid: int | None = None
    boundary: str = "vertex"
    hd95: str = "directed"
    prompts: Path | None = None
    timeout: float | None = None
    serial: bool = False
    keep_predictions: bool = False

    def __post_init__(self) -> None:
        for split in self.splits:
            _check_known("split", split, SPLITS)
        _check_known("precision", self.precision, PRECISIONS)
        _check_known("boundary", self.boundary, BOUNDARIES)
        _check_known("hd95 rule", self.hd95, HD95_RULES)
        for name in ("chunk", "batch_images", "limit", "grid", "timeout"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"{name} is {value}; give a number above 0")

    @property
    def rules(self) -> Preset:
        """The preset with its corrective rule."""
        return preset(self.preset, corrective=self.corrective)


def _check_known(kind: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise unknown_name(kind, given, allowed)


def run_info(
    options: RunOptions,
    benchmark: Benchmark,
    model: Mapping[str, Any],
    submitter: str | None,
    given_model: str | None = None,
) -> dict[str, Any]:
    """Return run.json without the counts: what was run on what, and the key that says so.

    ``given_model`` is the model as the user named it, in which the folders of files are left out.
    """
    rules = options.rules
    protocol = {
        "id": PROTOCOL_ID,
        "preset": rules.id,
        "preset_version": rules.version,
        "corrective": rules.corrective,
        "steps": rules.steps,
        "seed": options.seed,
        "prompts_sha256": None if options.prompts is None else sha256_file(options.prompts),
    }
    source = {
        "edition": benchmark.info["edition"],
        "version": benchmark.info["version"],
        "manifest_digest": benchmark.digest,
        "split": list(options.splits),
        "levels": list(options.levels),
        "limit": options.limit,
        **name_track(benchmark.track),
    }
    metrics = {
        "grid": options.grid or "native",
        "boundary": options.boundary,
        "taus": list(TOLERANCES),
        "hd95": options.hd95,
    }
    info: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "dmseg": __version__,
        "protocol": protocol,
        "benchmark": source,
        "model": dict(model),
        "chunk": options.chunk,
        "precision": options.precision,
        "metrics": metrics,
        "batch_images": options.batch_images,
    }
    record = {**plain(info), "run_key": run_key(info), "submitter": submitter}
    record["synthetic"] = list(benchmark.info.get("synthetic") or ())
    if given_model is not None:
        record["given_model"] = _FOLDERS.sub("", given_model)
    return record


def run_key(info: Mapping[str, Any]) -> str:
    """Return the digest (64 hex digits) of everything that the rows of a run depend on."""
    return digest(_key_content(info))


def _key_content(info: Mapping[str, Any]) -> dict[str, Any]:
    content = {part: info.get(part) for part in _KEY_PARTS}
    model = info["model"]
    named = {name: model[name] for name in _OWN_MODEL_KEY if model.get(name)}
    content["model"] = {**{name: model.get(name) for name in _MODEL_KEY}, **named}
    return content


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return one text per part of the key in which two runs differ: ``protocol.seed: 0 there, 1 here``."""
    first, second = _flat(_key_content(one)), _flat(_key_content(other))
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    if "model.name" in names:  # another model has other arguments, which nobody wants to read
        names = [name for name in names if name == "model.name" or not name.startswith("model.")]
    return [f"{name}: {first.get(name)} there, {second.get(name)} here" for name in names]


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def with_defaults(options: RunOptions, device: str, capabilities: frozenset[str], chunk: int | None) -> RunOptions:
    """Return the options with the chunk that fits: as asked for, else by device; 1 for a model that takes one mask."""
    if "batched_prompts" not in capabilities:
        return dataclasses.replace(options, chunk=1)
    kind = "cuda" if device.startswith("cuda") else "cpu"
    return dataclasses.replace(options, chunk=DEFAULT_CHUNK[kind] if chunk is None else chunk)
