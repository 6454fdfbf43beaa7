"""What a run shows to those who do not watch it: metrics, and a note on its end."""
