"""The shape of a submitted run.json: every field that is read, with its type, range and length."""

from __future__ import annotations

from dmseg.harness.options import PRECISIONS
from dmseg.leaderboard.names import MODEL_NAME, MODEL_NAME_RULE
from dmseg.protocol import CORRECTIVE_RULES, PRESETS
from dmseg.results.columns import SCHEMA_VERSION
from dmseg.schemas import SHA256, Either, Items, Loose, Number, Optional, Record, Text
from dmseg.types import ALL_LEVELS, SPLITS, TRACKS

MAX_STEPS = 100
_MOST_MASKS = 10_000_000
_SEED = Number(-(2**63), 2**63 - 1)
_VALUES = Loose(200, 4, 2000)
_DATASET = Text(100, shortest=1)
RUN = Record(
    {
        "schema_version": Number(SCHEMA_VERSION, SCHEMA_VERSION),
        "dmseg": Optional(Text(40, pattern=r"[0-9A-Za-z.+_-]*")),
        "protocol": Record(
            {
                "id": Text(60, shortest=1),
                "preset": Text(choices=tuple(PRESETS)),
                "preset_version": Optional(Number(0, 1000)),
                "corrective": Optional(Text(choices=CORRECTIVE_RULES)),
                "steps": Number(1, MAX_STEPS),
                "seed": _SEED,
                "prompts_sha256": Optional(Text(64, pattern=SHA256)),
            },
            others=_VALUES,
        ),
        "benchmark": Record(
            {
                "edition": Text(60, shortest=1, pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*"),
                "version": Text(60, shortest=1, pattern=r"[A-Za-z0-9][A-Za-z0-9.+_-]*"),
                "manifest_digest": Text(64, pattern=SHA256, means="64 lower-case hex digits"),
                "split": Items(Text(choices=SPLITS), len(SPLITS), 1, distinct=True),
                "levels": Items(Text(choices=ALL_LEVELS), len(ALL_LEVELS), 1, distinct=True),
                "limit": Optional(Number(1, 10**9)),
                "track": Optional(Text(choices=TRACKS)),
            },
            others=_VALUES,
        ),
        "model": Record(
            {
                "name": Text(80, pattern=MODEL_NAME, means=MODEL_NAME_RULE),
                "version": Optional(Either((Text(60), Number(0, 10**9, whole=False)))),
                "params": Optional(Number(0, 10**13)),
                "license": Optional(Text(100)),
                "trained_on": Optional(Items(_DATASET, 200)),
                "mode": Optional(Text(60)),
                "arguments": Optional(_VALUES),
                "input_size": Optional(Either((Number(1, 100_000), Text(60)))),
            },
            others=_VALUES,
        ),
        "chunk": Optional(Number(1, 10**6)),
        "precision": Optional(Text(choices=PRECISIONS)),
        "batch_images": Optional(Number(1, 10**6)),
        "metrics": Record(
            {
                "grid": Either((Text(choices=("native",)), Number(16, 100_000))),
                "boundary": Text(40),
                "taus": Items(Number(0, 1000, whole=False), 20),
                "hd95": Text(40),
            },
            others=_VALUES,
        ),
        "n_masks": Number(1, _MOST_MASKS),
        "n_errors": Number(0, _MOST_MASKS * MAX_STEPS),
        "run_key": Text(64, pattern=SHA256, means="64 lower-case hex digits"),
        "submitter": Optional(Text(100)),
        "halved_for_memory": Optional(Number(0, 10**9)),
    },
    others=_VALUES,
)
"""The shape of run.json; what a newer dmseg adds is let through where it is small."""
