"""A model of the score over the searched parameters, which search and analysis both use."""
