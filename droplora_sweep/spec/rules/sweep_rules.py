"""Rules between the fields of a sweep, and no secret in its file.

A secret is refused in a file: since nothing written then has to be masked, a sweep can be resumed
from what is written; the secret itself is found again where it always was, in the environment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError
from droplora_sweep.redaction import secret_in
from droplora_sweep.spec.fidelity import MODEL_PATH, MODEL_REVISION
from droplora_sweep.spec.first_trials import baselines
from droplora_sweep.spec.loading.messages import shown
from droplora_sweep.spec.loading.source import dotted
from droplora_sweep.spec.locations import (
    data_url_problem,
    is_data_file_name,
    is_hub_id,
    is_pin,
    is_url,
    local_folder,
    study_url_problem,
)
from droplora_sweep.spec.metric_names import MEAN, is_likelihood, likelihood_name, score_name
from droplora_sweep.spec.task import is_unknown, plugin_names, unknown_benchmark
from droplora_sweep.spec.trial import BUILTIN, PAD_MULTIPLE, WARMUP_RATIO

from .composition import find_impossible_combinations, find_unfair_comparison
from .fidelity_rules import find_unfit_fidelity
from .parameter_rules import PARAMETERS, Finding, find_broken_parameters, possible_values
from .search_rules import find_broken_search, find_unfit_population, find_unfit_space
from .zero_rules import find_unfit_zero

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.loading.yaml_text import Path
    from droplora_sweep.spec.sweep import SweepSpec
    from droplora_sweep.spec.task import BenchmarkSpec, TrainSpec


_WHERE_OF_WEB = (
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; of data the "
    "file ~/.netrc"
)
_SPLIT = re.compile(r"[\w.-]+")
_SPLIT_PART = re.compile(r"[\w.-]+(\[-?\d*%?:-?\d*%?\])?")
_WHERE = {
    "http": _WHERE_OF_WEB,
    "https": _WHERE_OF_WEB,
    "postgresql": "PGPASSWORD, or the file ~/.pgpass",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the file ~/.aws/credentials",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""Places where the clients of each kind of URL look for secrets."""


def secret_problem(value: str) -> str | None:
    """The rule a text breaks by holding a secret, without showing it; None if it holds none."""
    found = secret_in(value)
    if found is None:
        return None
    scheme = value.partition("://")[0].partition("+")[0].lower() if "://" in value else ""
    where = _WHERE.get(scheme, "where its client looks for it")
    return (
        f"must not hold a secret, got {found}: what is given here is kept in storage and in "
        f"MLflow; give it in the environment ({where})"
    )


def find_secrets(value: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Path and problem of every text in plain data that holds a secret."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from find_secrets(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_secrets(inner, (*path, index))
    elif isinstance(value, str) and (problem := secret_problem(value)):
        yield path, problem


def require_no_secret(option: str, value: str) -> None:
    """Refuse a secret in the value of a command-line option.

    Raises:
        InputError: It holds one.
    """
    if problem := secret_problem(value):
        raise InputError.of(option, problem)


_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_broken_rules(
    sweep: SweepSpec, *, check_folders: bool = True, needs_data: bool = True
) -> list[Finding]:
    """Every rule that is broken, in the order of the file's sections.

    Args:
        sweep: Valid field by field.
        check_folders: True where the model and the data must exist on this machine.
        needs_data: True where published benchmarks need `task.data`, as they do to be run.
    """
    findings = [
        *(_sources(sweep) if check_folders else ()),
        *_benchmarks(sweep),
        *(_data_is_given(sweep) if needs_data else ()),
        *_attention(sweep),
        *_shared_gpus(sweep),
        *_batch(sweep),
        *_warmup(sweep),
        *_metric(sweep),
        *find_broken_search(sweep),
        *_study(sweep),
        *_confirm(sweep),
        *find_unfit_fidelity(sweep),
        *find_unfit_population(sweep),
        *find_broken_parameters(sweep),
    ]
    # The rules below reason about the whole space, so they need every parameter to be sound.
    if not any(finding.path[:2] == PARAMETERS for finding in findings):
        findings += [
            *find_impossible_combinations(sweep),
            *find_unfit_space(sweep),
            *find_unfair_comparison(sweep),
            *find_unfit_zero(sweep),
            *_num_trials(sweep),
        ]
    return findings


def _sources(sweep: SweepSpec) -> Iterator[Finding]:
    if sweep.model.path != BUILTIN:
        yield from _source(("model",), "path", sweep.model.path, sweep.model.revision)
    elif sweep.model.revision is not None:
        yield _needless_revision(("model",), sweep.model.revision)
    yield from _smaller_model(sweep)
    yield from _data(("task",), sweep.task.data, sweep.task.revision)
    for name, spec in sweep.task.benchmark_specs.items():
        yield from _data(("task", "benchmarks", name), spec.data, spec.revision)
        yield from _of_data_sets(("task", "benchmarks", name), spec)
    if sweep.task.train is not None:
        yield from _data(("task", "train"), sweep.task.train.data, sweep.task.train.revision)
        yield from _of_data_sets(("task", "train"), sweep.task.train)
        for split in sweep.task.train.splits:
            if split != "train":
                problem = f"must be left out, since a mixture is trained on alone, got {split}"
                yield Finding(("task", "train", "splits", split), problem)


def _of_data_sets(section: Path, spec: BenchmarkSpec | TrainSpec) -> Iterator[Finding]:
    """Fields that only data of its own have, or only a Hub id."""
    of_hub = spec.data is not None and is_hub_id(spec.data) and not is_data_file_name(spec.data)
    if spec.configuration is not None and not of_hub:
        problem = f"must be left out unless `data` is a Hub id, got {shown(spec.configuration)}"
        yield Finding((*section, "configuration"), problem, ((*section, "data"),))
    for split, name in spec.splits.items():
        place = (*section, "splits", split)
        if spec.data is None:
            problem = f"must be left out unless `data` is given, got {shown(name)}"
            yield Finding(place, problem, ((*section, "data"),))
        elif not (_SPLIT_PART if of_hub else _SPLIT).fullmatch(name):
            rule = "must be a split's name, or a part of one as in train[:1000]"
            problem = f"{rule if of_hub else 'must be a split name'}, got {shown(name)}"
            yield Finding(place, problem)


def _smaller_model(sweep: SweepSpec) -> Iterator[Finding]:
    fidelity = sweep.search.fidelity
    if fidelity is None or fidelity.model_path is None:
        return
    path, revision = fidelity.model_path, fidelity.model_revision
    section = ("search", "fidelity")
    if path != "builtin":
        yield from _source(section, MODEL_PATH, path, revision, revision_key=MODEL_REVISION)
    elif revision is not None:
        yield _needless_revision(section, revision, MODEL_REVISION)


def _data(section: Path, data: str | None, revision: str | None) -> Iterator[Finding]:
    if data is not None and is_url(data):
        yield from _url(section, data, revision)
    elif data is not None:
        yield from _source(section, "data", data, revision, may_be_file=len(section) > 1)
    elif revision is not None:
        yield _needless_revision(section, revision)


def _url(section: Path, data: str, revision: str | None) -> Iterator[Finding]:
    problem = data_url_problem(data, may_be_file=len(section) > 1)
    if problem is not None:
        yield Finding((*section, "data"), problem)
    elif revision is not None and not is_pin(revision):
        problem = f"must be sha256: and 64 hex digits, or left out, got {shown(revision)}"
        yield Finding((*section, "revision"), problem, ((*section, "data"),))


def _source(
    section: Path,
    name: str,
    path: str,
    revision: str | None,
    *,
    may_be_file: bool = False,
    revision_key: str = "revision",
) -> Iterator[Finding]:
    is_file = may_be_file and (local_folder(path).is_file() or is_data_file_name(path))
    if is_hub_id(path) and not is_file:
        if revision is None:
            problem = (
                "must be given: the commit to use, since "
                f"`{dotted((*section, name))}` is no folder here and so a Hub id, got {shown(path)}"
            )
            yield Finding((*section, revision_key), problem, ((*section, name),))
        elif not _COMMIT.fullmatch(revision):
            problem = f"must be a commit of 40 hex digits, got {shown(revision)}"
            yield Finding((*section, revision_key), problem)
    elif not (local_folder(path).exists() if may_be_file else local_folder(path).is_dir()):
        kind = "file or folder" if may_be_file else "folder"
        yield Finding((*section, name), f"must be an existing {kind}, got {shown(path)}")
    elif revision is not None:
        yield _needless_revision(section, revision, revision_key)


def _needless_revision(section: Path, revision: str, key: str = "revision") -> Finding:
    problem = f"must be left out unless a Hub id is used, got {shown(revision)}"
    return Finding((*section, key), problem, (section,))


def _benchmarks(sweep: SweepSpec) -> Iterator[Finding]:
    names = sweep.task.benchmarks
    for index, name in enumerate(names):
        if name in names[:index]:
            problem = f"must differ from the others, got {shown(name)} twice"
            yield Finding(("task", "benchmarks", index), problem)
        elif is_unknown(name, sweep.task):
            key = name if sweep.task.benchmark_specs else index
            problem = unknown_benchmark(name)
            yield Finding(("task", "benchmarks", key), problem, is_found_again=True)


def _data_is_given(sweep: SweepSpec) -> Iterator[Finding]:
    names = sweep.task.benchmarks
    specs = sweep.task.benchmark_specs
    files = [
        name
        for name in names
        if not name.startswith("builtin_")
        and not (name in specs and (specs[name].data or specs[name].lm_eval))
        and not is_unknown(name, sweep.task)
    ]
    if files and sweep.task.data is None:
        plugins = plugin_names()
        files = [name for name in files if name not in plugins]
    if files and sweep.task.data is None:
        problem = (
            f"must be given for {', '.join(files)}: the folder (or Hub id) that has "
            f"{files[0]}/train.json, e.g. --set task.data=FOLDER"
        )
        yield Finding(("task", "data"), problem, (("task", "benchmarks"),))
    train = sweep.task.train
    if train is not None and train.data is None and sweep.task.data is None:
        problem = f"must be given for {train.name}: its file, folder or Hub id, got null"
        yield Finding(("task", "train", "data"), problem, (("task", "data"),))


def _batch(sweep: SweepSpec) -> Iterator[Finding]:
    """A global batch is split over the workers; each needs a sequence of its own."""
    path = "training.global_batch_size"
    for place, value in possible_values(path, sweep):
        if isinstance(value, int) and value < sweep.group.num_workers:
            problem = (
                "must be at least `group.num_workers`, "
                f"got {value} for {sweep.group.num_workers} workers"
            )
            yield Finding(place, problem, (("group", "num_workers"),))
    limits = possible_values("training.max_sequence_tokens", sweep)
    longest = max((value for _, value in limits if isinstance(value, int)), default=0)
    least = -(-longest // PAD_MULTIPLE) * PAD_MULTIPLE
    for place, value in possible_values("training.micro_batch_tokens", sweep):
        if not isinstance(value, int):
            continue
        if value < least:
            problem = (
                f"must be at least {least}, `training.max_sequence_tokens` in multiples of "
                f"{PAD_MULTIPLE}, got {value}"
            )
            yield Finding(place, problem, (("training", "max_sequence_tokens"),))
        if sweep.group.halve_micro_batch_on_oom:
            problem = f"must be null with `group.halve_micro_batch_on_oom`, got {value}"
            yield Finding(place, problem, (("group", "halve_micro_batch_on_oom"),))


def _attention(sweep: SweepSpec) -> Iterator[Finding]:
    """Flash attention has kernels for GPUs and 16 bits alone."""
    if sweep.model.attention != "flash_attention_2":
        return
    place, got = ("model", "attention"), "got 'flash_attention_2'"
    if not sweep.group.gpus_per_worker:
        problem = f"must be another one without `group.gpus_per_worker: 1`, {got}"
        yield Finding(place, problem, (("group", "gpus_per_worker"),))
    elif sweep.model.dtype != "bfloat16":
        problem = f"must be another one where `model.dtype` is {sweep.model.dtype}, {got}"
        yield Finding(place, problem, (("model", "dtype"),))


def _shared_gpus(sweep: SweepSpec) -> Iterator[Finding]:
    """Several groups may share a GPU; the workers of one may not."""
    share, num_workers = sweep.group.gpus_per_worker, sweep.group.num_workers
    if 0 < share < 1 and num_workers > 1:
        problem = (
            "must be 0 or 1 where a group has several workers, since NCCL refuses two of a group "
            f"on one GPU, got {shown(share)} for {num_workers} workers; groups of one worker "
            "(`group.num_workers: 1`) can share a GPU"
        )
        yield Finding(("group", "gpus_per_worker"), problem, (("group", "num_workers"),))


def _warmup(sweep: SweepSpec) -> Iterator[Finding]:
    """A warmup is a number of steps or a share of them; one would hide the other."""
    steps, ratio = "training.warmup_steps", "training.warmup_ratio"
    given = [(place, value) for place, value in possible_values(steps, sweep) if value is not None]
    for place, value in possible_values(ratio, sweep):
        if given and value != WARMUP_RATIO:
            problem = (
                f"must be left out where `{steps}` is given, which counts instead, got "
                f"{shown(value)}; set `{steps}: null` to use the ratio"
            )
            yield Finding(place, problem, (given[0][0],))
            return


def _metric(sweep: SweepSpec) -> Iterator[Finding]:
    metric = sweep.search.metric
    name = likelihood_name if is_likelihood(metric) else score_name
    known = tuple(map(name, (MEAN, *sweep.task.benchmarks)))
    if metric not in known:
        problem = f"must be one of {', '.join(known)}, got {shown(metric)}"
        yield Finding(("search", "metric"), problem, (("task", "benchmarks"),))
    elif is_likelihood(metric) and not sweep.evaluation.likelihood:
        problem = f"needs `evaluation.likelihood: true`, got {shown(metric)} and false"
        yield Finding(("search", "metric"), problem, (("evaluation", "likelihood"),))
    by_likelihood = sweep.confirm is not None and sweep.confirm.finalists == "likelihood"
    if by_likelihood and not sweep.evaluation.likelihood:
        problem = "needs `evaluation.likelihood: true`, got 'likelihood' and false"
        yield Finding(("confirm", "finalists"), problem, (("evaluation", "likelihood"),))
    if is_likelihood(metric) and sweep.search.budget.target_score is not None:
        problem = (
            f"must be left out where `search.metric` is {metric}, which is no score, "
            f"got {shown(sweep.search.budget.target_score)}"
        )
        yield Finding(("search", "budget", "target_score"), problem, (("search", "metric"),))


def _study(sweep: SweepSpec) -> Iterator[Finding]:
    url = sweep.search.study
    if url is not None and (problem := study_url_problem(url)):
        yield Finding(("search", "study"), problem)


def _confirm(sweep: SweepSpec) -> Iterator[Finding]:
    if sweep.evaluation.split != "validation":
        problem = (
            "must be validation: only the confirmation stage scores the confirmation split, got "
            f"{shown(sweep.evaluation.split)}"
        )
        yield Finding(("evaluation", "split"), problem)
    if sweep.confirm is not None and "seed" in sweep.search.parameters:
        problem = (
            "must not be searched with `confirm`, which repeats every setting with the same seeds"
        )
        yield Finding((*PARAMETERS, "seed"), problem, (("confirm",),))


def _num_trials(sweep: SweepSpec) -> Iterator[Finding]:
    if not sweep.search.queue_baselines:
        return
    num_baselines, num_trials = len(baselines(sweep)), sweep.search.num_trials
    if num_trials is not None and num_trials < num_baselines:
        problem = (
            f"must be at least {num_baselines}, the baselines that are queued first, "
            f"got {num_trials}"
        )
        yield Finding(("search", "num_trials"), problem, (PARAMETERS,))
