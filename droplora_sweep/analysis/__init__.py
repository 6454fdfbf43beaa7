"""Statistics of scores: the best pruning rate, its certainty, and the runs needed next; pure."""
