"""The leaderboard: submissions are run folders, every published number is computed again from their cases.

``leaderboard.csv`` is the record, made from ``entries/``; ``leaderboard.html`` is a view of it. See
``docs/leaderboard.md``.
"""

from dmseg.leaderboard.challenge import AuditOutcome, Challenge, read_challenge
from dmseg.leaderboard.checks import CODES, Finding, Verdict, find_warnings
from dmseg.leaderboard.entries import default_root, read_entries
from dmseg.leaderboard.lookup import find_entry, find_pairs
from dmseg.leaderboard.show import show
from dmseg.leaderboard.submitting import Added, RefusedError, add, build, check, pack, request_text
from dmseg.leaderboard.trust import answer, audit, challenge, confirm, recheck

__all__ = [
    "CODES",
    "Added",
    "AuditOutcome",
    "Challenge",
    "Finding",
    "RefusedError",
    "Verdict",
    "add",
    "answer",
    "audit",
    "build",
    "challenge",
    "check",
    "confirm",
    "default_root",
    "find_entry",
    "find_pairs",
    "find_warnings",
    "pack",
    "read_challenge",
    "read_entries",
    "recheck",
    "request_text",
    "show",
]
