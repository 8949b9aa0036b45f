"""The leaderboard: submissions are run folders, every published number is computed again from their cases.

``leaderboard.csv`` is the record, made from ``entries/``; ``leaderboard.html`` is a view of it. See
``docs/leaderboard.md``.
"""

from dmseg.leaderboard.api import Added, DiceDifference, RefusedError, add, build, check, compare, pack, request_text
from dmseg.leaderboard.checks import CODES, Finding, Verdict
from dmseg.leaderboard.entries import default_root
from dmseg.leaderboard.show import show

__all__ = [
    "CODES",
    "Added",
    "DiceDifference",
    "Finding",
    "RefusedError",
    "Verdict",
    "add",
    "build",
    "check",
    "compare",
    "default_root",
    "pack",
    "request_text",
    "show",
]
