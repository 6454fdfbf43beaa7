"""Records -> what MLflow shows: names, params, tags, statuses and tables; pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.spec.fields import split_path
from droplora_sweep.spec.methods import SETTINGS, method_of
from droplora_sweep.spec.metric_names import SPLIT_PREFIXES, score_name
from droplora_sweep.spec.targets import layers_text, read_layers
from droplora_sweep.spec.task import CHAT_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from droplora_sweep.records.summaries import ArmSummary
    from droplora_sweep.records.trial import Reference, SweepRecord, TrialRecord

INTERRUPTED = "INTERRUPTED"
"""State tag of a run whose trial was running when its sweep ended."""

SHORT_SECTIONS = frozenset({"adapter", "training"})
"""Sections whose fields are params under their own names; others are ``<section>_<field>``."""

RUN_NAME_FIELDS = {
    "adapter.rank": "r",
    "adapter.alpha": "a",
    "adapter.pruning_rate": "p",
    "training.learning_rate": "lr",
}

TRIAL_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.STOPPED: "KILLED",
    TrialState.FAILED: "FAILED",
}

SWEEP_STATUS = {
    SweepOutcome.COMPLETE: "FINISHED",
    SweepOutcome.INTERRUPTED: "KILLED",
    SweepOutcome.FAILED: "FAILED",
}

MAX_PARAM_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 5000


def trial_run_name(trial: TrialRecord) -> str:
    """``t0007 r=8 p=0.2``: rank and pruning rate always, the rest where it was searched.

    The method comes first where it is not LoRA: ``t0008 dora r=8 p=0``, ``t0009 full``.
    """
    fields = dict(_used_fields(trial))
    always = {"adapter.rank", "adapter.pruning_rate"}
    parts = [
        f"{short}={fields[path]:g}"
        for path, short in RUN_NAME_FIELDS.items()
        if path in fields and (path in always or path in trial.params)
    ]
    if "adapter.mask" in fields and "adapter.mask" in trial.params:
        parts.append(f"mask={fields['adapter.mask']}")
    method = fields["adapter.method"]
    methods = [] if method_of(method).is_lora else [method]
    return " ".join([trial.trial_id.partition("-")[0], *methods, *parts])


def param_name(path: str) -> str:
    """Param of a dotted path: ``adapter.rank`` is ``rank``, ``model.path`` is ``model_path``.

    >>> param_name("training.learning_rate"), param_name("evaluation.batch_size")
    ('learning_rate', 'evaluation_batch_size')
    >>> param_name("adapter.lora_drop.threshold"), param_name("adapter.module_pruning_rates.mlp.up")
    ('lora_drop_threshold', 'module_pruning_rates_mlp.up')
    """
    section, *names = split_path(path)
    return "_".join(names if names and section in SHORT_SECTIONS else (section, *names))


def trial_params(trial: TrialRecord) -> dict[str, str]:
    """Every field of the spec that is set and used, and what the search chose beyond (ratios)."""
    params = {param_name(path): _param(path, value) for path, value in _used_fields(trial)}
    for path, value in trial.params.items():
        params.setdefault(param_name(path), _text(value))
    return params


def summary_run_name(summary: ArmSummary) -> str:
    """``confirmed t0003 r=8 p=0.2``, or ``confirmed t0003@p=0 r=8 p=0``."""
    setting, at, suffix = summary.arm.partition("@")
    _, _, fields = trial_run_name(summary.run).partition(" ")
    return f"confirmed {setting.partition('-')[0]}{at}{suffix} {fields}"


def summary_params(summary: ArmSummary) -> dict[str, str]:
    """Params of a summary run: those of its arm's runs, but for the seed."""
    params = trial_params(summary.run)
    return {name: value for name, value in params.items() if name != param_name("seed")}


CHANGED = "now."
"""Begins the tag of a param that a run has from earlier, and that has another value by now."""


def new_params(
    params: Mapping[str, str], logged: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return params that a run still takes, and tags for values that it refuses as params.

    Args:
        params: Params that a run ought to have.
        logged: Params that it has, also from an earlier version of this program.

    Returns:
        Params that it lacks; tags for those that it has with another value.
    """
    lacking = {name: value for name, value in params.items() if name not in logged}
    changed = {
        f"{CHANGED}{name}": value[:MAX_TAG_CHARACTERS]
        for name, value in params.items()
        if logged.get(name, value) != value
    }
    return lacking, changed


SETTINGS_SECTIONS = ("search", "confirm", "group", "checkpoint")


def sweep_settings(sweep: SweepRecord) -> dict[str, str]:
    """Settings of the sweep itself, as tags of the parent run; trials' own are in their runs.

    A sweep may continue with other ones: more trials, a budget, a confirmation, larger groups.
    """
    spec = {name: sweep.spec[name] for name in SETTINGS_SECTIONS if sweep.spec.get(name)}
    fields = {
        path.replace(".", "_"): value
        for path, value in _leaves(spec)
        if not path.startswith("search.parameters.")
    }
    fields["storage"] = sweep.spec["storage"]
    return {name: _text(value)[:MAX_TAG_CHARACTERS] for name, value in fields.items()}


def outdated_settings(tags: Iterable[str], settings: Mapping[str, str]) -> list[str]:
    """Names of the tags that `sweep_settings` gave once and does not give now."""
    ours = tuple(f"{section}_" for section in SETTINGS_SECTIONS)
    return [name for name in tags if name.startswith(ours) and name not in settings]


COPIED = "copied."
"""Tags of a population's member: by evaluation, whom it copied and the values it continued with."""


RETRIES = "retries"
"""Tag of a run: the failures of its trial that a user had it retried after."""

FAILED_BEFORE = "failed_before."
"""Tags of a retried trial: the reason of each of those failures, and who had it retried."""

OF_AN_ATTEMPT = ("published", "reason", "stop_asked_by")
ADJUSTED = "adjusted."


def outdated_by_retry(tags: Iterable[str]) -> list[str]:
    """Names of the tags that tell of an attempt that has failed, once the trial is retried."""
    return [name for name in tags if name in OF_AN_ATTEMPT or name.startswith(ADJUSTED)]


def trial_tags(trial: TrialRecord, sweep: SweepRecord, *, is_live: bool) -> dict[str, str]:
    """Tags of a trial's run; ``is_live`` says that its sweep is still going on."""
    is_interrupted = not trial.is_finished and not is_live
    tags = {
        "sweep_id": sweep.sweep_id,
        "sweep": sweep.name,
        "trial_id": trial.trial_id,
        "fingerprint": trial.fingerprint,
        "state": INTERRUPTED if is_interrupted else trial.state.value,
        "attempts": str(trial.attempts),
        "stage": trial.stage.value,
    }
    if trial.arm is not None:
        tags["arm"] = trial.arm
    if trial.reason:
        tags["reason"] = trial.reason[:MAX_TAG_CHARACTERS]
    given = {
        "clone_of": trial.clone_of,
        "started_from": None if trial.start is None else trial.start.trial_id,
        "pinned_by": trial.pinned_by,
        "stop_asked_by": trial.stop_asked_by,
    }
    tags |= {name: value for name, value in given.items() if value is not None}
    if trial.failures:
        tags[RETRIES] = str(len(trial.failures))
    for number, failure in enumerate(trial.failures, start=1):
        text = f"{failure.reason or 'no reason is known'} (retried by {failure.by})"
        tags[f"{FAILED_BEFORE}{number}"] = text[:MAX_TAG_CHARACTERS]
    for exploit_step in trial.schedule:
        values = ", ".join(f"{path}={value}" for path, value in exploit_step.settings.items())
        tags[f"{COPIED}{exploit_step.evaluation}"] = f"{exploit_step.source}: {values}"[
            :MAX_TAG_CHARACTERS
        ]
    # Params are immutable: they say what was asked for.
    for path, value in trial.adjusted.items():
        tags[f"{ADJUSTED}{param_name(path)}"] = str(value)
    return tags


def sweep_tags(sweep: SweepRecord, *, is_live: bool) -> dict[str, str]:
    """Tags of the parent run."""
    unfinished = "RUNNING" if is_live else INTERRUPTED
    tags = {
        "sweep_id": sweep.sweep_id,
        "sweep": sweep.name,
        "state": sweep.outcome.value if sweep.outcome else unfinished,
        **{f"version.{package}": version for package, version in sweep.versions.items()},
    }
    if sweep.reason:
        tags["reason"] = sweep.reason[:MAX_TAG_CHARACTERS]
    for reference in sweep.references.values():
        prefix = SPLIT_PREFIXES[reference.split]
        for name, (answer, _) in reference.most_frequent.items():
            tags[f"most_frequent.{prefix}.{name}"] = answer[:MAX_TAG_CHARACTERS]
    return tags


def trial_status(trial: TrialRecord, *, is_live: bool) -> str:
    """MLflow's run status; a trial that its sweep left running is KILLED."""
    return TRIAL_STATUS[trial.state] if is_live or trial.is_finished else "KILLED"


def sweep_status(sweep: SweepRecord, *, is_live: bool) -> str:
    """MLflow's status of the parent run."""
    if sweep.outcome is not None:
        return SWEEP_STATUS[sweep.outcome]
    return "RUNNING" if is_live else "KILLED"


def trial_counts(sweep: SweepRecord) -> dict[str, float]:
    """Metrics of the parent run: number of trials in each state."""
    states = [trial.state for trial in sweep.trials]
    return {f"trials_{state.value.lower()}": float(states.count(state)) for state in TrialState}


def reference_metrics(reference: Reference) -> dict[str, float]:
    """Scores that need no training and have to be beaten, as metrics of the parent run.

    ``untrained/val/<benchmark>``, ``most_frequent/val/<benchmark>`` and
    ``chance/val/<benchmark>``; the answer that is the most frequent one is among `sweep_tags`.
    """
    kinds = {
        "untrained": reference.untrained,
        "most_frequent": {name: share for name, (_, share) in reference.most_frequent.items()},
        "chance": reference.chance,
    }
    return {
        f"{kind}/{score_name(name, reference.split)}": score
        for kind, scores in kinds.items()
        for name, score in scores.items()
    }


def num_finished(sweep: SweepRecord) -> int:
    """The parent run's step: MLflow shows the value of the highest step as the present one."""
    return sum(trial.is_finished for trial in sweep.trials)


def last_change(sweep: SweepRecord) -> datetime:
    """Time at which a trial or the sweep last started or ended."""
    times = [sweep.started, sweep.finished]
    times += [time for trial in sweep.trials for time in (trial.started, trial.finished)]
    return max(time for time in times if time is not None)


def dataset_source(sweep: SweepRecord, name: str) -> dict[str, Any]:
    """Source of ``<benchmark>/<split>``, ``held_out_text`` or a chat template, by the spec."""
    owner, _, split = name.partition("/")
    if CHAT_TEMPLATE in (owner, split):
        model = sweep.spec["model"]
        return {"data": model["path"], "revision": model["revision"]}
    if not split:
        return {"data": sweep.spec["evaluation"]["held_out_text"], "revision": None}
    task = sweep.spec["task"]
    train = task.get("train") or {}
    own = train if train.get("name") == owner else task.get("benchmark_specs", {}).get(owner)
    section = own if own and own.get("data") else task
    return {"data": section["data"], "revision": section["revision"]}


def trials_table(trials: Iterable[TrialRecord]) -> dict[str, list[Any]]:
    """One row per trial, as the columns and data of MLflow's table artifacts."""
    rows = [(trial, dict(_leaves(trial.spec))) for trial in trials]
    params = _union(trial.params for trial, _ in rows)
    metrics = _union(trial.metrics for trial, _ in rows)
    columns = ["trial", "stage", "arm", *map(param_name, params), *metrics]
    columns += ["state", "seconds", "reason"]
    data = [
        [
            trial.trial_id,
            trial.stage.value,
            trial.arm,
            # Where the search chose a ratio, the trial's own value is what readers expect.
            *(_shown(trial, name, fields.get(name, trial.params.get(name))) for name in params),
            *(_finite(trial.metrics.get(name)) for name in metrics),
            trial.state.value,
            _seconds(trial),
            trial.reason,
        ]
        for trial, fields in rows
    ]
    return {"columns": columns, "data": data}


def _leaves(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in spec.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def _used_fields(trial: TrialRecord) -> Iterator[tuple[str, Any]]:
    """The fields that have a meaning with the trial's method: a rank of a full model misleads."""
    method = method_of(trial.spec["adapter"]["method"])
    for path, value in _leaves(trial.spec):
        section, _, field = path.partition(".")
        is_of_adapter = section == "adapter" and field != "method"
        is_of_others = field.partition(".")[0] in SETTINGS - {method.settings}
        if not is_of_adapter or (method.has_rank and not is_of_others):
            yield path, _shown(trial, path, value)


def _shown(trial: TrialRecord, path: str, value: Any) -> Any:
    """Return the value of a field; of a list that was searched its text, which charts can use."""
    return trial.params.get(path, value) if isinstance(value, list) else value


def _param(path: str, value: object) -> str:
    """Return a field's value; layers in ranges, since a deep model has many."""
    return _text(layers_text(read_layers(value)) if path == "adapter.layers" else value)


def _text(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text[:MAX_PARAM_CHARACTERS]


def _union(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _finite(value: float | None) -> float | str | None:
    """NaN as text: JSON has no word for it, and an empty cell would look like "not scored"."""
    return value if value is None or abs(value) < float("inf") else str(value)


def _seconds(trial: TrialRecord) -> float | None:
    if trial.finished is None:
        return None
    return round((trial.finished - trial.started).total_seconds(), 1)
