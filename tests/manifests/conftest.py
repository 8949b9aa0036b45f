"""A small manifest made of plain rows."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dmseg.manifests import Manifest, arrow_schema, manifest_digest, plan_digest


@pytest.fixture
def rows() -> dict[str, list[dict]]:
    images, masks, degradations = [], [], []
    for number in range(3):
        image = f"BUSI__{number}"
        images.append(
            {
                "image_id": image,
                "dataset": "BUSI",
                "modality": "ultrasound",
                "split": "train",
                "case_id": f"BUSI__case{number}",
                "height": 32,
                "width": 48,
                "spacing_y": 0.1 + number,
                "spacing_x": None,
                "source": f"benign/{number}.png",
                "source_sha256": f"{number}" * 64,
                "window": None,
                "observed": "{}",
            }
        )
        for k in range(2):
            masks.append(
                {
                    "mask_id": f"{image}__lesion__{k}",
                    "image_id": image,
                    "structure": "lesion",
                    "rle": '{"size":[32,48],"counts":"x"}',
                    "mask_sha256": "a" * 64,
                    "area": 20 + k,
                    "x0": 1,
                    "y0": 2,
                    "x1": 3,
                    "y1": 4,
                    "evaluate": True,
                }
            )
        for level in ("clear", "lq3plus", "lq1"):
            degradations.append(
                {
                    "image_id": image,
                    "level": level,
                    "plan": "{}",
                    "plan_digest": f"{image}{level}",
                    "thumbprint": bytes(256),
                    "pixel_sha256": "b" * 64,
                }
            )
    return {"images": images, "masks": masks, "degradations": degradations}


@pytest.fixture
def make(rows):
    """Return a function that makes the manifest of (changed) rows."""

    def manifest(changed: dict[str, list[dict]] | None = None, **info) -> Manifest:
        tables = {
            name: pa.Table.from_pylist(content, schema=arrow_schema(name))
            for name, content in (changed or rows).items()
        }
        head = {
            "schema_version": 1,
            "edition": "local",
            "version": "0+0",
            "seed": 0,
            "levels": ["clear", "lq1", "lq3plus"],
            "recipes": {"BUSI": "c" * 64},
            "degradation_tables": {"version": "1", "digest": "d" * 64},
            "counts": {"images": 3, "masks": 6},
            "created_with": {"dmseg": "0"},
        } | info
        head["manifest_digest"] = manifest_digest(head, tables)
        head["plan_digest"] = plan_digest(head, tables)
        return Manifest(head, **tables)

    return manifest
