"""Pages of runs, one file that opens offline: of one run, of several; and the worst cases as a PNG."""

from dmseg.report.writing import find_benchmark, write_comparison, write_report, write_worst_cases

__all__ = ["find_benchmark", "write_comparison", "write_report", "write_worst_cases"]
