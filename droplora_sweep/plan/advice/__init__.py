"""Advice on what is odd in a search space, though it is no fault and stops nothing."""
