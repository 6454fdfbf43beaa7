"""Costs of trials before they are run: memory of a GPU, arithmetic, seconds; pure functions."""
