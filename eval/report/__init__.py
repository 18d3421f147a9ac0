"""The report: one HTML file from records and drawn pictures. It is given everything and reads no run by itself."""

from eval.report.page import Picture, Report, Section, Strip, codecs_of, render

__all__ = ["Picture", "Report", "Section", "Strip", "codecs_of", "render"]
