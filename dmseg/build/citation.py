"""``cite``: what to cite, and under which licences the images of a benchmark stand."""

from __future__ import annotations

from dmseg import datasets
from dmseg.build.raw import list_names
from dmseg.manifests import Manifest
from dmseg.tables import read_packaged_table

PAPER: str = read_packaged_table("dmseg.build", "build.toml")["paper"]["citation"].strip()


def cite(manifest: Manifest) -> str:
    """Return BibTeX of the paper and of every dataset in a benchmark, with licences and the benchmark's own name.

    Datasets that are phantoms are named as synthetic: there is nobody to cite for them.
    """
    info = manifest.info
    lines = [
        f"% Benchmark {info['edition']} {info['version']}",
        f"% manifest_digest {info['manifest_digest']}",
        f"% built with dmseg {info['created_with'].get('dmseg', 'unknown')}",
        "",
        PAPER,
    ]
    synthetic = info.get("synthetic", [])
    for name in sorted(info["recipes"]):
        n_images = info["counts"]["datasets"][name]["images"]
        lines += ["", f"% {name}: {n_images} images"]
        if name in synthetic:
            lines.append(
                "% synthetic phantoms in the original layout, written by dmseg: nothing to cite, free to share"
            )
        elif name in list_names():
            recipe = datasets.recipe(name)
            lines += [f"% licence: {recipe.licence}", f"% {recipe.url}", recipe.citation.strip()]
        else:
            lines.append("% own data: its recipe says what to cite")
    return "\n".join(lines) + "\n"
