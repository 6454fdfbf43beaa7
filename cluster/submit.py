"""Script that ``ray submit`` uploads to the head node: runs a sweep on the cluster around it.

    ray submit cluster/aws.yaml cluster/submit.py -- search_spaces/quickstart.yaml --name first

Arguments are those of ``droplora-sweep run``; paths are relative to the project's folder on the
head node. The shell there reads them a second time: put what has spaces, quotes, brackets or braces
into two kinds of quotes, ``--set "'search.parameters.adapter.rank.values=[4, 8]'"``.
"""

import os
import sys
from pathlib import Path

from droplora_sweep.cli import main

PROJECT = Path("~/droplora-sweep").expanduser()

if __name__ == "__main__":
    if PROJECT.is_dir():
        os.chdir(PROJECT)
    main(["run", *sys.argv[1:], "--address", os.environ.get("RAY_ADDRESS", "localhost:6379")])
