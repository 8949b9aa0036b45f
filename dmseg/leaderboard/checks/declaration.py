"""E50x and E108: what run.json declares about the run, the model and its submitter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from dmseg.baselines import model_cards
from dmseg.leaderboard.checks.findings import Findings
from dmseg.protocol import PRESETS
from dmseg.results.columns import SCHEMA_VERSION

FILE = "run.json"
_REQUIRED: dict[str, tuple[str, ...]] = {
    "": ("protocol", "benchmark", "model", "metrics", "n_masks", "n_errors", "run_key"),
    "protocol": ("id", "preset", "steps", "seed"),
    "benchmark": ("edition", "version", "manifest_digest", "split", "levels"),
    "model": ("name", "license"),
    "metrics": ("grid", "boundary", "taus", "hd95"),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKUP = re.compile(r"[<>&\"`\x00-\x1f\x7f]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLACEHOLDERS = ("example.com", "example.org", "example.net", "localhost", "todo", "xxx", "your-", "<", "placeholder")
_LONGEST = 200


def check_declaration(info: Mapping[str, Any], findings: Findings) -> bool:
    """Check run.json; return whether it is complete enough for the other checks."""
    if info.get("schema_version") != SCHEMA_VERSION:
        findings.add(
            "E501", FILE, f"schema_version {info.get('schema_version')!r}", f"this dmseg reads {SCHEMA_VERSION}"
        )
        return False
    if not _check_parts(info, findings):
        return False
    _check_texts(info, findings)
    _check_model(info["model"], findings)
    return True


def _check_parts(info: Mapping[str, Any], findings: Findings) -> bool:
    """Tell whether every required key is there, and the few that others compute with have their type."""
    missing = []
    for part, keys in _REQUIRED.items():
        record = info.get(part, {}) if part else info
        present = record if isinstance(record, Mapping) else {}
        missing += [f"{part}.{key}".lstrip(".") for key in keys if key not in present]
    if missing:
        findings.add("E501", FILE, f"missing: {', '.join(missing)}", "send run.json as dmseg evaluate wrote it")
        return False
    protocol, benchmark, model = info["protocol"], info["benchmark"], info["model"]
    wrong = [
        name
        for name, value, kind in (
            ("protocol.steps", protocol["steps"], int),
            ("protocol.seed", protocol["seed"], int),
            ("benchmark.split", benchmark["split"], list),
            ("benchmark.levels", benchmark["levels"], list),
            ("benchmark.manifest_digest", benchmark["manifest_digest"], str),
            ("model.name", model["name"], str),
            ("model.trained_on", model.get("trained_on") or [], list),
            ("model.params", model.get("params") or 0, int),
        )
        if not isinstance(value, kind) or isinstance(value, bool)
    ]
    if protocol["preset"] not in PRESETS:
        wrong.append(f"protocol.preset {protocol['preset']!r} (one of: {', '.join(PRESETS)})")
    if wrong:
        findings.add("E501", FILE, f"wrong value of {', '.join(wrong)}", "send run.json as dmseg evaluate wrote it")
    return not wrong


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{name}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _texts(item, f"{name}[{i}]")


def _check_texts(info: Mapping[str, Any], findings: Findings) -> None:
    """Refuse texts that a spreadsheet would run or a page might: they end up in both."""
    for part in ("model", "benchmark", "protocol", "submitter"):
        for name, text in _texts(info.get(part), part):
            if text.startswith(_FORMULA):
                findings.add(
                    "E108", FILE, f"{name} {text[:40]!r} begins with a formula character", "begin with a letter"
                )
            elif _MARKUP.search(text):
                findings.add(
                    "E108", FILE, f"{name} {text[:40]!r} holds markup or control characters", "plain text only"
                )
            elif len(text) > _LONGEST:
                findings.add("E108", FILE, f"{name} has {len(text)} characters", f"at most {_LONGEST}")


def _check_model(model: Mapping[str, Any], findings: Findings) -> None:
    name = model["name"].strip()
    if not name:
        findings.add("E501", FILE, "model.name is empty", "give the model a name")
    card = model_cards().get(name)
    if model.get("mode") == "self-test" or (card is not None and card.kind == "self-test"):
        findings.add(
            "E505", FILE, f'model "{name}" is a self-test model', "submit a model that does not see the reference"
        )
    if not str(model["license"] or "").strip():
        findings.add("E502", FILE, "model.license is empty", "name the licence of code and weights (an SPDX name)")
    for key in ("code_url", "paper_url"):
        if model.get(key) and not _is_real_address(str(model[key])):
            findings.add("E503", FILE, f"model.{key} {str(model[key])[:60]!r}", "a public http(s) address, or null")
    weights = model.get("weights_sha256")
    if weights is not None and not _SHA256.fullmatch(str(weights)):
        findings.add("E504", FILE, f"model.weights_sha256 {str(weights)[:70]!r}", "64 lower-case hex digits, or null")
    elif weights is None and (model.get("params") or 0) > 0:
        findings.add(
            "E504", FILE, f"{model['params']} parameters, but no weights_sha256", "give the sha256 of the weights"
        )


def _is_real_address(text: str) -> bool:
    parts = urlsplit(text)
    lowered = text.lower()
    return parts.scheme in ("http", "https") and "." in parts.netloc and not any(p in lowered for p in _PLACEHOLDERS)
