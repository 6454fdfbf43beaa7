"""What the corpus is made of."""

from __future__ import annotations

Document = list[tuple[str, bool]]
"""Pieces of text, each with whether the loss counts it: what was drawn cannot be learned."""
