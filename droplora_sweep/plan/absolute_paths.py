"""Local paths of a sweep as absolute ones, for workers that have working folders of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.evaluation.judging.grading import with_absolute_files
from droplora_sweep.plugins import file_of, source_of
from droplora_sweep.scorers.own import is_place
from droplora_sweep.spec import OptunaSamplerSpec, is_hub_id, local_folder
from droplora_sweep.spec.locations import is_data_file_name, is_url
from droplora_sweep.spec.trial import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.spec import SweepSpec


def with_absolute_paths(sweep: SweepSpec, pins: Mapping[str, str]) -> SweepSpec:
    """Return a sweep whose workers, wherever they run, read what was read here.

    Args:
        sweep: A valid sweep.
        pins: Revision of the data of each URL that was read.
    """
    model, task, evaluation = sweep.model, sweep.task, sweep.evaluation
    model = model.model_copy(update={"path": _absolute_model(model.path)})
    specs = {
        name: spec.model_copy(
            update={
                **_pinned(spec.data, spec.revision, pins),
                "scoring": _absolute_scoring(spec.scoring),
                "command": tuple(map(_absolute_argument, spec.command)),
                "lm_eval": spec.lm_eval and _absolute_argument(spec.lm_eval),
            }
        )
        for name, spec in task.benchmark_specs.items()
    }
    train = task.train
    if train is not None:
        train = train.model_copy(update=_pinned(train.data, train.revision, pins))
    task = task.model_copy(
        update={
            **_pinned(task.data, task.revision, pins),
            "benchmark_specs": specs,
            "train": train,
            "scoring": _absolute_scoring(task.scoring),
        }
    )
    if evaluation.judge is not None:
        judge = with_absolute_files(evaluation.judge)
        evaluation = evaluation.model_copy(update={"judge": judge})
    if evaluation.held_out_text is not None:
        text = str(local_folder(evaluation.held_out_text).resolve())
        evaluation = evaluation.model_copy(update={"held_out_text": text})
    search = sweep.search
    if isinstance(search.sampler, OptunaSamplerSpec):
        search = search.model_copy(update={"sampler": search.sampler.with_absolute_path()})
    if search.fidelity is not None and search.fidelity.model_path is not None:
        path = _absolute_model(search.fidelity.model_path)
        fidelity = search.fidelity.model_copy(update={"model_path": path})
        search = search.model_copy(update={"fidelity": fidelity})
    changed = {"model": model, "task": task, "evaluation": evaluation, "search": search}
    return sweep.model_copy(update=changed)


@dataclass(frozen=True, kw_only=True)
class LocalPath:
    """A value of a sweep that names a file or a folder of the machine that reads it.

    Attributes:
        field: Its field.
        given: The value.
        path: The file or folder.
        rest: End of the value behind the path: ``:function`` of a scorer.
    """

    field: str
    given: str
    path: Path
    rest: str = ""


def local_paths(sweep: SweepSpec) -> Iterator[LocalPath]:
    """Yield what `with_absolute_paths` would change, the judge's key and cache excepted."""
    task, evaluation, search = sweep.task, sweep.evaluation, sweep.search
    yield from _of_model("model.path", sweep.model.path)
    if search.fidelity is not None and search.fidelity.model_path is not None:
        yield from _of_model("search.fidelity.model.path", search.fidelity.model_path)
    yield from _of_data("task.data", task.data)
    yield from _of_code("task.scoring", task.scoring)
    if task.train is not None:
        yield from _of_data("task.train.data", task.train.data)
    for name, spec in task.benchmark_specs.items():
        field = f"task.benchmarks.{name}"
        yield from _of_data(f"{field}.data", spec.data)
        yield from _of_code(f"{field}.scoring", spec.scoring)
        for index, argument in enumerate(spec.command):
            if Path(argument).is_file():
                yield _plain(f"{field}.command[{index}]", argument)
        if spec.lm_eval is not None and Path(spec.lm_eval).is_file():
            yield _plain(f"{field}.lm_eval", spec.lm_eval)
    judge = evaluation.judge
    if judge is not None:
        yield _plain("evaluation.judge.prompts", judge.prompts)
        if judge.references is not None:
            yield _plain("evaluation.judge.references", judge.references)
    if evaluation.held_out_text is not None:
        yield _plain("evaluation.held_out_text", evaluation.held_out_text)
    if isinstance(search.sampler, OptunaSamplerSpec):
        yield from _of_code("search.sampler.class", search.sampler.class_path)


def _plain(field: str, given: str) -> LocalPath:
    return LocalPath(field=field, given=given, path=local_folder(given))


def _of_model(field: str, given: str) -> Iterator[LocalPath]:
    if given != BUILTIN and not is_hub_id(given):
        yield _plain(field, given)


def _of_data(field: str, given: str | None) -> Iterator[LocalPath]:
    if given is None or is_url(given):
        return
    if local_folder(given).exists() or is_data_file_name(given) or not is_hub_id(given):
        yield _plain(field, given)


def _of_code(field: str, given: str | None) -> Iterator[LocalPath]:
    """A file of code, or a module of the working folder, which is no other machine's."""
    if given is None or ":" not in given:
        return
    file, rest = file_of(given), given.rpartition(":")[2]
    if file is None:
        file = source_of(given)
        if file is None or not file.resolve().is_relative_to(Path.cwd()):
            return
        file = file.resolve().relative_to(Path.cwd())
    yield LocalPath(field=field, given=given, path=file, rest=f":{rest}")


def _absolute_model(path: str) -> str:
    if path == BUILTIN or is_hub_id(path):
        return path
    return str(local_folder(path).resolve())


def _pinned(
    data: str | None, revision: str | None, pins: Mapping[str, str]
) -> dict[str, str | None]:
    """Return absolute data with its revision, which names what a URL had when it was read."""
    if data is None or not is_url(data):
        return {"data": _absolute(data), "revision": revision}
    return {"data": data, "revision": pins.get(data, revision)}


def _absolute(data: str | None) -> str | None:
    if data is None:
        return None
    path = local_folder(data)
    return str(path.resolve()) if path.exists() or not is_hub_id(data) else data


def _absolute_scoring(scoring: str | None) -> str | None:
    """Return a scoring with its file, if it is a function of one, as an absolute path."""
    file = None if scoring is None or not is_place(scoring) else file_of(scoring)
    if scoring is None or file is None:
        return scoring
    return f"{file.resolve()}:{scoring.rpartition(':')[2]}"


def _absolute_argument(argument: str) -> str:
    """Return an argument of a command that names a file as an absolute path.

    A link stays one: that to its Python is what makes a virtual environment.
    """
    return str(Path(argument).absolute()) if Path(argument).is_file() else argument
