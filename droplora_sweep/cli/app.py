"""The commands: parse, call, print."""

from __future__ import annotations

import typer

from . import (
    beginning,
    checking,
    data,
    differences,
    initial,
    planning,
    reporting,
    running,
    scoring,
    submitting,
    watching,
    winners,
)

app = typer.Typer(
    pretty_exceptions_enable=False,
    help="Find the best DropLoRA pruning rate: hyperparameter sweeps on Ray.",
)
app.callback(invoke_without_command=True)(beginning.begin)
app.command()(beginning.demo)
app.command()(initial.init)
app.command()(beginning.examples)
app.command()(planning.validate)
app.command()(planning.plan)
app.command()(data.data)
app.command()(checking.doctor)
app.command()(running.run)
app.command()(submitting.submit)
app.add_typer(submitting.job, name="job")
app.command()(running.resume)
app.command()(running.retry)
app.command()(running.stop)
app.command()(running.stop_trial)
app.command()(running.pin)
app.command()(running.clone)
app.command()(watching.status)
app.command()(watching.watch)
app.command()(winners.best)
app.command()(differences.diff)
app.command()(reporting.report)
app.command()(reporting.compare)
app.command()(winners.register)
app.command()(winners.export)
app.command()(winners.rerun)
app.command("eval")(scoring.evaluate)
app.command()(scoring.compress)
app.command()(reporting.sync)
app.command()(reporting.ui)
app.command()(planning.schema)
