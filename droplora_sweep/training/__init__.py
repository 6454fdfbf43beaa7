"""Training of one trial on a group; `schedule` and `checkpoints.places` need no torch."""
