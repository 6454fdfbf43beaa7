"""The command line, one module per thing that users do; `app` lists the commands."""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
