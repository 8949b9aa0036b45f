"""Pages of runs, one file that opens offline: of one run, of several; and runs to look at in Python."""

from dmseg.report.places import find_benchmark
from dmseg.report.showing import ShownRun, open_shown_run
from dmseg.report.writing import write_comparison, write_report, write_worst_cases

__all__ = [
    "ShownRun",
    "find_benchmark",
    "open_shown_run",
    "write_comparison",
    "write_report",
    "write_worst_cases",
]
