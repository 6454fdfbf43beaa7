"""Submission of a sweep to a cluster elsewhere, from a machine that need not be part of it."""
