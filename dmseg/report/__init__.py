"""Pictures of one run: the HTML report, one file that opens offline, and the worst cases as a PNG."""

from dmseg.report.writing import find_benchmark, write_report, write_worst_cases

__all__ = ["find_benchmark", "write_report", "write_worst_cases"]
