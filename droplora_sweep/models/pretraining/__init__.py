"""How the built-in model came to be: ``python -m droplora_sweep.models.pretraining --help``."""
