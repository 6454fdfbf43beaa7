"""``python -m tests.gpu``: measure this machine's GPU with the package's own code.

It prints one table, writes a JSON file beside it, and ends with 1 if a check failed. Without a GPU
it says so and ends with 0. ``--core`` leaves out what needs Ray; ``--tiny --device cpu`` runs the
checks' code on a CPU, where it measures nothing that has a meaning.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from .packages import missing
from .rows import as_table, report, summary
from .suite import CHECKS, DEADLINE_S, chosen, machine, run_check, run_suite

NO_GPU = (
    "no GPU that torch can use on this machine: nothing was measured, and nothing failed\n"
    "(python -m tests.gpu --tiny --device cpu runs the checks on the CPU)"
)


def parser() -> argparse.ArgumentParser:
    names = [check.name for check in CHECKS]
    found = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    found.add_argument("--core", action="store_true", help="leave out what needs Ray")
    found.add_argument("--only", nargs="+", choices=names, default=[], metavar="CHECK")
    found.add_argument("--tiny", action="store_const", dest="size", const="tiny", default="1b")
    found.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    found.add_argument("--json", type=Path, help="file of the rows as JSON")
    found.add_argument("--seconds", type=float, default=DEADLINE_S, help="for all checks together")
    # Of the process of one check, which the suite starts.
    for name in ("--check", "--size", "--folder", "--rows", "--until"):
        found.add_argument(name, help=argparse.SUPPRESS)
    return found


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    if arguments.check is not None:
        run_check(
            arguments.check,
            arguments.size,
            arguments.device,
            Path(arguments.folder),
            Path(arguments.rows),
            float(arguments.until),
        )
        return 0
    if (problem := missing()) is not None:
        sys.stderr.write(f"{problem}\n")
        return 2
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.stdout.write(f"{NO_GPU}\n")
        return 0
    started_s = time.monotonic()
    rows = run_suite(
        chosen(arguments.only, core=arguments.core),
        arguments.size,
        arguments.device,
        deadline_s=arguments.seconds,
    )
    seconds = time.monotonic() - started_s
    found = machine(arguments.device)
    sys.stdout.write("\n".join([*as_table(rows), summary(rows, seconds), ""]))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report(rows, found, seconds), indent=2) + "\n")
    return int(any(row.outcome == "failed" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
