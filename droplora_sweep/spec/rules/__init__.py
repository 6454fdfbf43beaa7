"""Rules that must hold between fields of a sweep."""
