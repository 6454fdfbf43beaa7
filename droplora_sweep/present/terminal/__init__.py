"""Progress and tables in the terminal."""
