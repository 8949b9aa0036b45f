"""The HTML report of one run: one file that opens offline."""

from dmseg.report.writing import find_benchmark, write_report

__all__ = ["find_benchmark", "write_report"]
