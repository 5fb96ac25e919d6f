"""A run's results for people: one HTML page, a table for the terminal, JSON for machines."""

from unmoved.report.page import render, write_report
from unmoved.report.terminal import summary_json, summary_table

__all__ = ["render", "summary_json", "summary_table", "write_report"]
