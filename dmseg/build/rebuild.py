"""``build --manifest``: exactly the benchmark that a manifest names, or the names of the sources that differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from dmseg.build.finish import BuildSummary, finish
from dmseg.build.folder import BenchmarkFolder
from dmseg.build.index import read_parts, write_report
from dmseg.build.parts import ERROR, ReportRow, Row
from dmseg.build.raw import find_recipe, list_names
from dmseg.build.run import Work
from dmseg.build.tasks import check_options
from dmseg.build.tracks import describe_tables, track_of
from dmseg.errors import DataError, UsageError
from dmseg.jobs import Backend
from dmseg.manifests import Manifest

_SHOWN = 10


def rebuild(
    manifest: Manifest,
    raw: Path | str | None,
    out: Path | str,
    *,
    recipes: Sequence[str] = (),
    jobs: int = 1,
    storage: str = "png",
    engine: str = "loky",
    scheduler: str | None = None,
) -> BuildSummary:
    """Build the benchmark of a manifest: its images, seed, levels, splits and evaluation subset.

    Args:
        manifest: as read by :func:`dmseg.manifests.read_manifest`, or a published one.
        raw, out, jobs, storage, engine, scheduler: as for :func:`dmseg.build.build`.
        recipes: paths of the recipes of those of the manifest's datasets that are not shipped.

    Raises:
        UsageError: a recipe of a dataset that the manifest does not have.
        DataError: recipes or degradation tables of this dmseg are others than the manifest's; or sources are missing
            or changed, which are then all listed in build_report.csv with their sha256.
    """
    info = manifest.info
    names = _names(manifest, recipes)
    _check_rules(manifest, names)
    options = check_options(info["seed"], info["levels"], storage, names, None, track_of(info))
    options = dataclasses.replace(options, manifest=manifest.digest)
    work = Work.find(raw, out, options, Backend(engine, jobs, scheduler))
    folder = work.folder
    with work.session():
        only = work.tasks(frozenset(manifest.images["image_id"].to_pylist()))
        work.do(only, "rebuild")
        listing = work.make_listing(only)
        _check_sources(folder, listing.sources, manifest.images)
    summary = finish(folder, options, listing, manifest)
    if summary.manifest_digest != manifest.digest:
        raise DataError(
            f"{folder.path}: all sources are those of the manifest, yet the result is {summary.manifest_digest} and "
            f"not {manifest.digest}; `dmseg manifest diff` against {folder.path} names the rows that differ; install "
            f"dmseg {info['created_with'].get('dmseg', '')}, which made the manifest"
        )
    return summary


def _names(manifest: Manifest, recipes: Sequence[str]) -> tuple[str, ...]:
    """Return what names the manifest's datasets to a build: their own names, or the paths of their recipes."""
    own = {find_recipe(path).id: path for path in recipes}
    for name, path in own.items():
        if name not in manifest.info["recipes"]:
            raise UsageError(f"{path}: its dataset {name} is not in the manifest, which has {_list_tasks(manifest)}")
    names = tuple(own.get(name, name) for name in manifest.info["recipes"])
    unknown = [name for name in names if name not in own.values() and name not in list_names()]
    if unknown:
        raise DataError(
            f"the manifest's dataset {', '.join(unknown)} is none that dmseg ships; give its recipe: --recipe FILE"
        )
    return names


def _list_tasks(manifest: Manifest) -> str:
    return ", ".join(manifest.info["recipes"])


def _check_rules(manifest: Manifest, names: Sequence[str]) -> None:
    """Refuse a manifest that was made by other rules than this dmseg, and the recipes given, have."""
    info = manifest.info
    recipes = [find_recipe(name) for name in names]
    other = [recipe.id for recipe in recipes if recipe.digest != info["recipes"][recipe.id]]
    tables = describe_tables(track_of(info))
    if info["degradation_tables"] != tables:
        version = info["degradation_tables"].get("version")
        other.append(f"degradation tables (version {version}, here {tables['version']})")
    if other:
        raise DataError(
            f"manifest {info['edition']} {info['version']} was made by other rules than this dmseg has: "
            f"{', '.join(other)}; install dmseg {info['created_with'].get('dmseg', '')}, which made it"
            + (", and give the recipe that it was made with" if len(set(names) - set(list_names())) else "")
        )


def _check_sources(folder: BenchmarkFolder, sources: Sequence[tuple[str, str]], images: pa.Table) -> None:
    """Compare what was built with the manifest's images; name every source that is missing or has changed."""
    built: dict[str, Row] = {}
    failed: list[ReportRow] = []
    for part in read_parts(folder, sources):
        built |= {row["image_id"]: row for row in part.images}
        failed += part.errors
    rows = [*_differences(images, built), *failed]
    if not rows:
        return
    write_report(folder.report, rows)
    shown = "\n".join(f"  {row.dataset}/{row.source}: {row.reason}" for row in rows[:_SHOWN])
    more = f"\n  ... and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    raise DataError(
        f"{len(rows)} sources are missing or differ from the manifest's (all are in {folder.report}):\n{shown}{more}\n"
        "get the original files, or build without --manifest to get a benchmark of your own"
    )


def _differences(images: pa.Table, built: dict[str, Row]) -> Iterator[ReportRow]:
    columns = (images[name].to_pylist() for name in ("image_id", "dataset", "source", "source_sha256"))
    for image, dataset, source, sha256 in zip(*columns, strict=True):
        if image not in built:
            yield ReportRow(dataset, source, ERROR, 1, f"missing: the manifest has sha256 {sha256}")
        elif built[image]["source_sha256"] != sha256:
            now = built[image]["source_sha256"]
            yield ReportRow(dataset, source, ERROR, 1, f"changed: sha256 {now}, the manifest has {sha256}")
