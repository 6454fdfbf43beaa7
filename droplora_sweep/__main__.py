"""``python -m droplora_sweep``: the command line where the package is not installed."""

from .cli import main

main()
