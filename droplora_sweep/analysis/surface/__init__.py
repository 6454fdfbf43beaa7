"""The score as a model over all searched parameters, from which finalists are chosen."""
