"""E50x and E108: what run.json declares about the run, the model and its submitter."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from dmseg.baselines import model_cards
from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.run_shape import RUN
from dmseg.naming import name_key
from dmseg.results.columns import SCHEMA_VERSION
from dmseg.schemas import SHA256, find_problems

FILE = "run.json"
_FORMULA = ("=", "+", "-", "@", "|", "%")
_MARKUP = re.compile(r"[<>&\"`\\\x00-\x1f\x7f\u2028\u2029]")
_PLACEHOLDERS = ("example.com", "example.org", "example.net", "localhost", "todo", "xxx", "your-", "placeholder")
_HOST = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$'()*+,;=%-]{1,300}")
_SHA256 = re.compile(SHA256)
_LONGEST = 200


def check_declaration(info: Mapping[str, Any], findings: Findings) -> bool:
    """Check run.json; return whether it is complete enough for the other checks."""
    if info.get("schema_version") != SCHEMA_VERSION:
        found = str(info.get("schema_version"))[:40]
        findings.add("E501", FILE, f"schema_version {found!r}", f"this dmseg reads {SCHEMA_VERSION}")
        return False
    _check_texts(info, findings)
    problems = find_problems(info, RUN)
    for problem in problems[:10]:
        what, _, allowed = problem.rpartition("; ")
        findings.add("E501", FILE, what or problem, allowed if what else "send run.json as dmseg evaluate wrote it")
    model = info.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("name"), str):
        _check_model(model, findings)
    return not problems


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"a key of {name}", str(key)
            yield from _texts(item, f"{name}.{key[:40]}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _texts(item, f"{name}[{i}]")


def text_problem(text: str) -> tuple[str, str] | None:
    """Return what makes a text unfit for a table or page, and what to do; None where it may go there.

    A spreadsheet runs what begins with a formula character, also in its wide forms and after spaces.
    """
    shown = ascii(text[:40])
    if unicodedata.normalize("NFKC", text).lstrip().startswith(_FORMULA):
        return f"{shown} begins with a formula character", "begin with a letter"
    if _MARKUP.search(text) or not text.replace("\u00a0", " ").isprintable():
        return f"{shown} holds markup or characters that cannot be printed", "plain text on one line only"
    if len(text) > _LONGEST:
        return f"{shown}... has {len(text)} characters", f"at most {_LONGEST}"
    return None


def _check_texts(info: Mapping[str, Any], findings: Findings) -> None:
    """Refuse texts that a spreadsheet would run or a page might: they end up in both."""
    shown = 0
    for part in ("model", "benchmark", "protocol", "submitter", "dmseg"):
        for name, text in _texts(info.get(part), part):
            within_arguments = name.startswith(("model.arguments", "a key of model.arguments"))
            problem = None if within_arguments else text_problem(text)
            if problem is not None and shown < 10:
                shown += 1
                findings.add("E108", FILE, f"{ascii(name)[1:-1]} {problem[0]}", problem[1])


def _check_model(model: Mapping[str, Any], findings: Findings) -> None:
    name = model["name"].strip()
    if not name_key(name):
        findings.add("E501", FILE, "model.name has no letter or digit", "give the model a name")
    cards = {name_key(known): card for known, card in model_cards().items()}
    card = cards.get(name_key(name))
    if model.get("mode") == "self-test" or (card is not None and card.kind == "self-test"):
        findings.add(
            "E505", FILE, f'model "{name}" is a self-test model', "submit a model that does not see the reference"
        )
    if not str(model.get("license") or "").strip():
        findings.add("E502", FILE, "model.license is empty", "name the licence of code and weights (an SPDX name)")
    for key in ("code_url", "paper_url"):
        if model.get(key) is not None and not is_real_address(model[key]):
            findings.add("E503", FILE, f"model.{key} {ascii(model[key])[:60]}", "a public http(s) address, or null")
    weights = model.get("weights_sha256")
    if weights is not None and not _is_digest(weights):
        findings.add("E504", FILE, f"model.weights_sha256 {ascii(weights)[:70]}", "the file's sha256 in hex, or null")
    elif weights is None and (params := model.get("params")) and isinstance(params, int) and params > 0:
        findings.add("E504", FILE, f"{params:g} parameters, but no weights_sha256", "give the sha256 of the weights")


def _is_digest(value: Any) -> bool:
    """Tell whether a value can be a sha256: 64 hex digits, not a few that somebody typed over and over."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None and len(set(value)) >= 8


def is_real_address(value: Any) -> bool:
    """Tell whether a value is a public http(s) address: a host name, no number, account or odd port."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        return False
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    try:
        ipaddress.ip_address(host)
        return False
    except ValueError:
        pass  # a name, as it should be
    lowered = value.lower()
    return (
        parts.scheme in ("http", "https")
        and _HOST.fullmatch(host) is not None
        and port in (None, 80, 443)
        and parts.username is None
        and not any(word in lowered for word in _PLACEHOLDERS)
    )
