"""What users see of a sweep: the terminal, and the report."""
