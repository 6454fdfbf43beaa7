"""Scorers, one for each way of scoring; exported is what a plug-in that brings one needs."""

from .scorer import Answer, Scorer, StopRule

__all__ = ["Answer", "Scorer", "StopRule"]
