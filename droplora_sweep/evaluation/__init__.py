"""Model and task in, per-example results and scores out."""
