"""Samplers by class name: `search.sampler: {kind: optuna, class: …, options: …}`.

The class may be any subclass of ``optuna.samplers.BaseSampler``. It is looked up, built and asked
for two trials before a sweep starts, so that most of what can be wrong is one line of `validate`.

One instance serves a driver for as long as it runs, since a sampler may keep state. Its seed
follows from the sweep's and from the number of trials drawn before, so a resumed search does not
repeat the draws of the first one.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import warnings
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection

from droplora_sweep.errors import DropLoRASweepError, Fault, InputError, SweepError
from droplora_sweep.spec import OptunaSamplerSpec, is_maximized, local_folder
from droplora_sweep.spec.loading.messages import shown

from .proposal import suggest
from .samplers import draw_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from droplora_sweep.spec import SweepSpec
    from droplora_sweep.spec.search import SamplerSpec

CLASS = "search.sampler.class"
OPTIONS = "search.sampler.options"
NUM_TRIED = 2
"""Trials that are drawn to try a sampler: many draw the second one otherwise than the first."""


def find_sampler_class(sampler: OptunaSamplerSpec) -> type[BaseSampler]:
    """Import the class of a sampler.

    Raises:
        InputError: It cannot be imported, or is no sampler.
    """
    class_path = sampler.class_path
    module_name, _, name = class_path.rpartition(":" if ":" in class_path else ".")
    if not module_name or not name.isidentifier():
        problem = "must be the path of a class, e.g. optuna.samplers.QMCSampler"
        raise InputError.of(CLASS, f"{problem}, got {shown(class_path)}")
    try:
        file = sampler.file
        module = importlib.import_module(module_name) if file is None else _module(file)
    except Exception as error:
        problem = f"must be a class that can be imported, got {shown(class_path)}"
        raise InputError.of(CLASS, f"{problem}: {_said(error)}") from error
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, BaseSampler):
        return found
    samplers = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BaseSampler)
    ]
    problem = f"must be a subclass of optuna.samplers.BaseSampler, got {shown(class_path)}"
    near = difflib.get_close_matches(name, samplers, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError.of(CLASS, f"{problem}{hint}")


def _module(file: str) -> ModuleType:
    """Run a Python file, or a package by its folder, under a name that hides no installed one."""
    path = local_folder(file).resolve()
    is_package = path.is_dir()
    own_name = f"droplora_sweep_sampler_{path.stem}"
    found = spec_from_file_location(
        own_name,
        path / "__init__.py" if is_package else path,
        submodule_search_locations=[str(path)] if is_package else None,
    )
    if found is None or found.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(found)
    sys.modules[own_name] = module
    found.loader.exec_module(module)
    return module


def build_sampler(sampler: OptunaSamplerSpec, seed: int) -> EndingSampler:
    """Build the sampler with its options, and with a seed where it takes one.

    Args:
        sampler: Class and options.
        seed: Used unless the options have one.

    Raises:
        InputError: The class cannot be found, or does not take the options.
    """
    kind = find_sampler_class(sampler)
    parameters = inspect.signature(kind).parameters
    options: dict[str, Any] = dict(sampler.options)
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        unknown = [
            Fault("", f"{OPTIONS}.{name}", _unknown_option(name, kind, tuple(parameters)))
            for name in options
            if name not in parameters
        ]
        if unknown:
            raise InputError(unknown)
    if "seed" in parameters:
        options.setdefault("seed", seed)
    with warnings.catch_warnings():
        # That an option may change is what the bounds of the dependency are for.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            ending: type[EndingSampler] = type(kind.__name__, (EndingSampler, kind), {})
            return ending(**options)
        except Exception as error:
            problem = f"must be options that {kind.__name__} takes, got {shown(sampler.options)}"
            raise InputError.of(OPTIONS, f"{problem}: {_said(error)}") from error


def _unknown_option(name: str, kind: type[BaseSampler], known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"unknown option of {kind.__name__}, did you mean `{near[0]}`?"
    listed = f"known ones are {', '.join(known)}" if known else "it has none"
    return f"unknown option of {kind.__name__}, {listed}"


def _said(error: Exception) -> str:
    """One line of an exception that another program raised, or of a fault that we found."""
    text = " ".join(str(error).split())
    if isinstance(error, DropLoRASweepError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class EndingSampler(BaseSampler):
    """Mixin that keeps a sampler's wish to stop.

    Optuna's samplers end a search by ``study.stop()``, which raises outside Optuna's own loop.

    Attributes:
        is_over: True once the sampler has nothing left to draw.
    """

    is_over = False

    def after_trial(self, *args: Any) -> None:
        """Let the sampler see the trial's end."""
        try:
            super().after_trial(*args)
        except RuntimeError as error:
            if "Study.stop" not in str(error):
                raise
            self.is_over = True


def check_sampler(sweep: SweepSpec) -> None:
    """Build the sampler of `kind: optuna` and draw trials of the search's space with it.

    Raises:
        InputError: It cannot be built, or cannot draw from this space or for these objectives.
    """
    options = sweep.search.sampler
    assert options.kind == "optuna"
    sampler = build_sampler(options, draw_seed(sweep.seed, 0))
    objectives = sweep.search.objectives or ("mean",)
    directions = [
        StudyDirection.MAXIMIZE if is_maximized(one) else StudyDirection.MINIMIZE
        for one in objectives
    ]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(directions=directions, sampler=sampler)
        for number in range(NUM_TRIED):
            trial = study.ask()
            suggest(trial, sweep, lambda number, spec: ("", ""))
            study.tell(trial, [float(number)] * len(objectives))
    except Exception as error:
        problem = f"must be able to draw trials of this search, got {shown(options.class_path)}"
        raise InputError.of(CLASS, f"{problem}: {_said(error)}") from error
    finally:
        optuna.logging.set_verbosity(verbosity)


@contextmanager
def sampler_errors_named(sampler: SamplerSpec) -> Iterator[None]:
    """Name the sampler in what one that is given by its class raises.

    Raises:
        SweepError: It raised anything.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(sampler, OptunaSamplerSpec):
            raise
        problem = f"{shown(sampler.class_path)} raised {_said(error)}"
        raise SweepError(f"search.sampler: {problem}") from error
