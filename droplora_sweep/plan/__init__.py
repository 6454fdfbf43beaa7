"""A sweep before it runs: every fault that can be known, and what it will take."""
