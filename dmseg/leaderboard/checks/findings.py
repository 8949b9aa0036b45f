"""What a check found: a code, a place, what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

CODES: dict[str, str] = {
    "E101": "the submission is a run folder or a zip of one, whole, readable and of sane size",
    "E102": "every documented column is there, once, and no other",
    "E103": "every column has its documented type",
    "E104": "every required value is there and finite",
    "E105": "every value is one of those allowed",
    "E106": "every number is within its range, and a failed row holds the worst values",
    "E107": "no key occurs twice",
    "E108": "no text begins with a formula character or holds markup",
    "E201": "every mask of the evaluation subset is there",
    "E202": "every mask and image is the benchmark's, with its case, dataset and split",
    "E203": "every mask and level has the steps 1 to T",
    "E204": "every mask has every level that the run declares",
    "E205": "the counts in run.json are those of the rows",
    "E301": "Dice, IoU, pixel accuracy and areas follow from whole numbers of pixels in every row",
    "E302": "manifest, plans, inputs, run_key, seed, rules, metric settings and first prompts are those of the edition",
    "E303": "clicks and scores of the audited masks follow from the stored predictions",
    "E304": "the results are a model's own: not constant, and no copy of another entry's",
    "E305": "surface scores agree: NSD grows with its tolerance and fits HD95, HD95 is a distance between pixels",
    "E306": "prompts, clicks and carried rows follow from each other, from the references and from empty predictions",
    "E307": "equal predictions have equal scores; empty and perfect ones have the digest of such a mask",
    "E308": "levels are what they are called: masks become harder where they do for the entries run by the maintainers",
    "E501": "run.json is complete and of a known schema",
    "E502": "a licence is declared",
    "E503": "addresses are real http(s) addresses",
    "E504": "the weights are named by a sha256, and a model with parameters has one",
    "E505": "the model sees no reference: self-test models cannot be submitted",
    "E506": "a name, in any spelling, belongs to the owner of its first entry, and looks like no other one",
    "W401": "results are plausible: harder levels are not better, more clicks are not worse, few masks are perfect, "
    "predictions depend on the image",
    "W402": "the model was not trained on a dataset it is tested on",
    "W403": "the benchmark is a published edition",
    "W404": "the run is complete",
    "W405": "failures are not more frequent among the masks whose predictions are kept",
}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule.

    Attributes:
        code: one of :data:`CODES`; E is an error, W a warning.
        where: file, with the first row (from 1) where that helps.
        what: what was found.
        fix: what is allowed or to be done.
    """

    code: str
    where: str
    what: str
    fix: str

    @property
    def is_error(self) -> bool:
        """Whether it keeps the run out."""
        return self.code.startswith("E")

    def __str__(self) -> str:
        return f"{self.code} {self.where}: {self.what}: {self.fix}"


@dataclass(slots=True)
class Findings:
    """Collects findings in the order of the checks."""

    items: list[Finding] = field(default_factory=list)

    def add(self, code: str, where: str, what: str, fix: str) -> None:
        """Note one broken rule; ``code`` is one of :data:`CODES`."""
        if code not in CODES:
            raise KeyError(code)
        self.items.append(Finding(code, where, what, fix))

    @property
    def has_errors(self) -> bool:
        """Whether anything keeps the run out."""
        return any(item.is_error for item in self.items)


def first_few(values: Iterable[Any]) -> str:
    """Return the first five values and how many more there are."""
    items: Sequence[Any] = list(values)
    shown = ", ".join(str(item) for item in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown} and {len(items) - _SHOWN} more"
