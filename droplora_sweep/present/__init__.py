"""Views of a sweep: the terminal, and the report."""
