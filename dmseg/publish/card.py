"""The texts of a published folder: the card that Hugging Face shows, and the record that Zenodo asks for."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dmseg import datasets
from dmseg.build.citation import PAPER
from dmseg.build.published import DATA_FOLDER
from dmseg.manifests import Manifest
from dmseg.version import __version__

PAPER_URL = "https://arxiv.org/abs/2606.30477"
_PHANTOM_LICENCE = "Apache-2.0 (drawn by dmseg)"


def benchmark_card(manifest: Manifest, shared: Sequence[str], withheld: Sequence[str], files: Sequence[str]) -> str:
    """Return README.md of a published benchmark: what Hugging Face reads on top, then what people read."""
    info = manifest.info
    synthetic = info.get("synthetic", ())
    splits = sorted({name.split("-", 1)[0] for name in files})
    header: dict[str, Any] = {
        "pretty_name": f"{info['edition']} {info['version']}",
        "license": "apache-2.0" if set(shared) <= set(synthetic) and shared else "other",
        "task_categories": ["image-segmentation"],
        "tags": ["medical", "interactive-segmentation", "robustness", *(["synthetic"] if synthetic else [])],
    }
    if splits:
        data = [{"split": split, "path": f"{DATA_FOLDER}/{split}-*.parquet"} for split in splits]
        header["configs"] = [{"config_name": "default", "data_files": data}]
    lines = ["---", *_front_matter(header), "---", "", f"# {info['edition']} {info['version']}", ""]
    if synthetic:
        kind = "All" if set(synthetic) >= set(info["recipes"]) else "Some"
        lines += [f"**{kind} images are synthetic: phantoms that dmseg draws, no patients.**", ""]
    lines += [
        "A benchmark of interactive segmentation of degraded medical images: every image at the levels "
        f"{', '.join(info['levels'])}, the same objects at each. "
        f"Made with dmseg {info['created_with'].get('dmseg', '')}.",
        "",
        f"- manifest digest: `{info['manifest_digest']}`",
        f"- seed {info['seed']}, degradation tables version {info['degradation_tables']['version']}",
        "",
        "| dataset | images | pixels here | masks here | licence |",
        "|---|---:|---|---|---|",
        *(_dataset_row(manifest, name, shared) for name in sorted(info["recipes"])),
        "",
        "## Use it",
        "",
        "```python",
        "import dmseg",
        "",
        'benchmark = dmseg.open("THIS_FOLDER")  # then benchmark.image(image_id, "lq3"), benchmark.mask(mask_id)',
        "```",
        "",
    ]
    if splits:
        lines += [
            "```python",
            "from datasets import load_dataset",
            "",
            f'rows = load_dataset("THIS_FOLDER", split="{splits[0]}")',
            "```",
            "",
        ]
    if withheld:
        lines += [
            "Of datasets without pixels here only the manifest is shared. With your own download of them, the same "
            "benchmark comes from `dmseg build --manifest THIS_FOLDER --raw RAW --out BENCH`; every source is checked "
            "by its sha256.",
            "",
        ]
    lines += ["CITATION.bib names what to cite. Not a medical device.", ""]
    return "\n".join(lines)


def run_card(info: Mapping[str, Any], digest: str, table: str) -> str:
    """Return README.md of a published run: model, benchmark, protocol, scores."""
    model, benchmark, protocol = info["model"], info["benchmark"], info["protocol"]
    lines = [
        *("---", *_front_matter({"license": "other", "tags": ["interactive-segmentation", "evaluation"]}), "---", ""),
        f"# {model['name']} on {benchmark['edition']} {benchmark['version']}",
        "",
        "**Self-reported: nobody but the submitter has checked these numbers.** `dmseg submit check THIS_FOLDER` looks "
        "at their shape.",
        "",
    ]
    if info.get("synthetic"):
        lines += ["**Synthetic images: phantoms that dmseg draws, no patients.**", ""]
    lines += [
        f"- benchmark `{benchmark['manifest_digest']}`, splits {', '.join(benchmark['split'])}",
        f"- protocol {protocol.get('id', '')}, preset {protocol['preset']}, {protocol['steps']} steps, "
        f"seed {protocol['seed']}",
        f"- {info['n_masks']} objects, {info['n_errors']} failed predictions, counted with their worst value",
        f"- run digest `{digest}`",
        "",
        table.strip(),
        "",
        "`dmseg report THIS_FOLDER` makes the page of this run; steps.parquet holds every object, level and step.",
        "",
    ]
    return "\n".join(lines)


def zenodo_record(title: str, description: str, creator: str, date: datetime.date) -> dict[str, Any]:
    """Return .zenodo.json: what the archive fills its form with."""
    return {
        "title": title,
        "description": f"{description} Made with dmseg {__version__}.",
        "upload_type": "dataset",
        "publication_date": date.isoformat(),
        "creators": [{"name": creator}],
        "keywords": ["interactive segmentation", "medical imaging", "robustness", "benchmark"],
        "related_identifiers": [{"identifier": PAPER_URL, "relation": "isDescribedBy", "scheme": "url"}],
        "references": [PAPER],
    }


def _licence(name: str, synthetic: Sequence[str]) -> str:
    if name in synthetic:
        return _PHANTOM_LICENCE
    return datasets.recipe(name).licence if name in datasets.ALL_RECIPES else "own data: its recipe says"


def _dataset_row(manifest: Manifest, name: str, shared: Sequence[str]) -> str:
    synthetic = manifest.info.get("synthetic", ())
    masks = name in synthetic or (name in datasets.ALL_RECIPES and datasets.recipe(name).share_masks)
    count = manifest.info["counts"]["datasets"][name]["images"]
    licence = _licence(name, synthetic)
    return f"| {name} | {count} | {_yes(name in shared)} | {_yes(masks)} | {licence} |"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _front_matter(header: Mapping[str, Any]) -> list[str]:
    """Return YAML lines; JSON is YAML, and quotes what has to be quoted."""
    return [f"{name}: {json.dumps(value)}" for name, value in header.items()]
