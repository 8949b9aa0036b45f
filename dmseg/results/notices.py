"""What must stand wherever numbers of a run stand: synthetic images, a partial run, a model that sees the reference.

A published edition says itself which of its datasets are phantoms; of any other benchmark the run says it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dmseg.manifests import find_published_header
from dmseg.naming import name_key
from dmseg.types import LEVEL_LABELS, MEDICAL, TRACK_LEVELS

PHANTOMS = "phantoms"
"""In ``trained_on``: images of this project's generator, which every synthetic dataset is drawn by."""
PHANTOM_MARK = " (phantom)"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that readers must know: a few words for a banner, and a sentence."""

    title: str
    text: str


def list_synthetic(info: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the datasets of a run's benchmark that are phantoms.

    Args:
        info: content of run.json. Runs of dmseg before 0.1 on a benchmark of their own do not say it: then none.
    """
    header = find_published_header(info["benchmark"]["manifest_digest"])
    named = info.get("synthetic") if header is None else header.get("synthetic")
    return frozenset(map(str, named)) if isinstance(named, list) else frozenset()


def mark_dataset(name: str, synthetic: Collection[str]) -> str:
    """Return a dataset's name as a heading has it: ``BUSI (phantom)`` where its images are synthetic.

    >>> mark_dataset("BUSI", {"BUSI"}), mark_dataset("BUSI", ())
    ('BUSI (phantom)', 'BUSI')
    """
    return name + PHANTOM_MARK if name in synthetic else name


def mark_title(title: str, info: Mapping[str, Any], datasets: Collection[str]) -> str:
    """Return the title of a table, with what of its images is synthetic."""
    drawn = set(datasets) & list_synthetic(info)
    if not drawn:
        return title
    return f"{title}; synthetic images" if drawn == set(datasets) else f"{title}; partly synthetic images"


def find_trained(trained_on: Collection[str], datasets: Iterable[str], synthetic: Collection[str]) -> list[str]:
    """Return the datasets whose images, or whose generator, a model was trained on, sorted.

    A phantom of BUSI is no image of BUSI: only ``phantoms`` in ``trained_on`` matches it, and never a real dataset.

    >>> find_trained(["phantoms"], ["BUSI", "LGG"], {"BUSI"}), find_trained(["busi"], ["BUSI"], {"BUSI"})
    (['BUSI'], [])
    """
    known = {name_key(name) for name in trained_on}
    return sorted({name for name in datasets if name_key(PHANTOMS if name in synthetic else name) in known})


def list_notices(info: Mapping[str, Any], datasets: Collection[str]) -> list[Notice]:
    """Return the notices of a run, most important first.

    Args:
        info: content of run.json.
        datasets: names of the datasets that the run has rows of.
    """
    found = []
    drawn = sorted(set(datasets) & list_synthetic(info))
    if drawn:
        found.append(_describe_synthetic(drawn, len(set(datasets))))
    benchmark = info["benchmark"]
    levels = TRACK_LEVELS[benchmark.get("track") or MEDICAL]
    limits = [f"at most {benchmark['limit']} images per dataset"] if benchmark.get("limit") else []
    if missing := [LEVEL_LABELS[level] for level in levels if level not in benchmark["levels"]]:
        limits.append(f"without {', '.join(missing)}")
    if limits:
        what = " and is ".join(limits)
        text = f"This run has {what}: its numbers do not stand for the whole benchmark, and it is never ranked."
        found.append(Notice("Partial run", text))
    if info["model"].get("mode") == "self-test":
        found.append(Notice("Self-test", "This model is shown the reference: its numbers are no model's results."))
    if info["protocol"].get("prompts_sha256"):
        found.append(Notice("Replayed prompts", "The prompts come from a file, not from the simulated user."))
    return found


def _describe_synthetic(drawn: list[str], number: int) -> Notice:
    which = "All images are" if len(drawn) == number else f"The images of {', '.join(drawn)} are"
    text = (
        f"{which} phantoms, drawn by a program in the layout of the dataset named: these numbers show how "
        "models compare on drawings, not how they do on patients."
    )
    return Notice("Synthetic images", text)


def format_notices(notices: Iterable[Notice]) -> str:
    """Return notices as lines of text for a terminal or a Markdown file."""
    return "".join(f"{notice.title.upper()}: {notice.text}\n" for notice in notices)
