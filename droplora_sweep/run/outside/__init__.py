"""Signs of a run for those who do not watch it: metrics, and a note on its end."""
