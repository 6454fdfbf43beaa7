"""Figures of a report, drawn as SVG for its page and PNG beside it."""
