"""Base models, found, inspected and loaded; all but `loading` needs no torch."""
