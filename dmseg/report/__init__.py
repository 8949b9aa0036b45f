"""The HTML report of one run: one file that opens offline."""

from dmseg.report.writing import write_report

__all__ = ["write_report"]
