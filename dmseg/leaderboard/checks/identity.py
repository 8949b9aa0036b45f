"""E302: the settings and inputs of a run are those of the benchmark that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dmseg.harness.options import run_key
from dmseg.leaderboard.checks.findings import Findings, first_few
from dmseg.leaderboard.checks.reference import Reference
from dmseg.manifests import LOCAL_EDITION
from dmseg.metrics import TOLERANCES
from dmseg.protocol import PROTOCOL_ID, preset

_HEADLINE = {"grid": "native", "boundary": "vertex", "hd95": "directed", "taus": list(TOLERANCES)}


def check_settings(info: Mapping[str, Any], steps: pd.DataFrame, findings: Findings) -> None:
    """E302: the settings that make runs comparable. A local edition compares with itself only and may differ."""
    protocol, metrics = info["protocol"], info["metrics"]
    if set(steps["seed"].unique()) != {protocol["seed"]}:
        findings.add("E302", "steps.parquet", "rows of another seed than run.json declares", f"seed {protocol['seed']}")
    expected = run_key(info)
    if info["run_key"] != expected:
        what = f"run_key {info['run_key'][:12]} is not that of this run.json ({expected[:12]})"
        findings.add("E302", "run.json", what, "send run.json as dmseg evaluate wrote it")
    rules = preset(protocol["preset"])
    wanted: dict[str, tuple[Any, Any]] = {"protocol.steps": (protocol["steps"], rules.steps)}
    if info["benchmark"]["edition"] != LOCAL_EDITION:
        wanted |= {"protocol.id": (protocol["id"], PROTOCOL_ID), "protocol.seed": (protocol["seed"], 0)}
        wanted |= {"protocol.preset_version": (protocol.get("preset_version"), rules.version)}
        wanted |= {"protocol.corrective": (protocol.get("corrective"), rules.corrective)}
        wanted |= {"protocol.prompts_sha256": (protocol.get("prompts_sha256"), None)}
        wanted |= {f"metrics.{name}": (metrics[name], value) for name, value in _HEADLINE.items()}
    for name, (found, value) in wanted.items():
        if found != value:
            findings.add("E302", "run.json", f"{name} is {found!r}", f"runs of preset {rules.id} have {value!r}")


def check_inputs(steps: pd.DataFrame, inputs: pd.DataFrame, reference: Reference, findings: Findings) -> None:
    """E302: each image was degraded by the edition's plan, and looks as it does there (thumbprints within 1 grey)."""
    used = set(steps[["image_id", "level"]].drop_duplicates().itertuples(index=False, name=None))
    rows = {(row["image_id"], row["level"]): row for row in inputs.to_dict("records")}
    absent, foreign = sorted(used - set(rows)), sorted(set(rows) - used)
    failed = set(steps[steps["status"] != "ok"][["image_id", "level"]].itertuples(index=False, name=None))
    other_plan, other_look, unseen = [], [], []
    for place in sorted(used & set(rows) & set(reference.plans)):
        plan, thumbprint = reference.plans[place]
        row = rows[place]
        if row["plan_digest"] != plan:
            other_plan.append(" ".join(place))
        elif row["thumbprint"] is None:
            unseen += [] if place in failed else [" ".join(place)]
        elif not _alike(row["thumbprint"], thumbprint):
            other_look.append(" ".join(place))
    fix = "build the edition again (dmseg verify) and repeat the run"
    for places, what in (
        ([" ".join(place) for place in absent], "inputs are not listed"),
        ([" ".join(place) for place in foreign], "inputs belong to no row"),
        (unseen, "inputs have predictions but no thumbprint"),
        (other_plan, "inputs were degraded by another plan (other version, seed or edition)"),
        (other_look, "inputs look different (thumbprints differ by more than 1 grey)"),
    ):
        if places:
            findings.add("E302", "inputs.parquet", f"{len(places)} {what}: {first_few(places)}", fix)


def _alike(first: bytes, second: bytes) -> bool:
    a, b = (np.frombuffer(content, dtype=np.uint8).astype(np.int16) for content in (first, second))
    return a.shape == b.shape and int(np.abs(a - b).max(initial=0)) <= 1
