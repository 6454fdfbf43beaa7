"""The methods of fine-tuning: one table that all but their own modules read; no torch.

A method of one's own is a row here, a row in ``tests/adapters/test_conformance.py`` and, unless
options of PEFT's ``LoraConfig`` say all of it, a module with a subclass of
`adapters.adapted.PeftAdapted`. An installed package brings one without any change here: the entry
point, of the method's name, is a function that returns the row (see `plugins`)::

    [project.entry-points."droplora_sweep.methods"]
    my_method = "my_package:my_method"
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from importlib import util
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from droplora_sweep import plugins
from droplora_sweep.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUP = "droplora_sweep.methods"
"""Entry points of the methods that installed packages bring."""


def num_in_lora(rank: int, num_out: int, num_in: int) -> int:
    """Return the size of A (rank, in) and B (out, rank)."""
    return rank * (num_out + num_in)


def num_in_dora(rank: int, num_out: int, num_in: int) -> int:
    """Return the size of A and B, and of a magnitude for each output."""
    return num_in_lora(rank, num_out, num_in) + num_out


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of fine-tuning, as everything but its own module needs to know it.

    The defaults are those of a LoRA variant that is saved as PEFT's LoRA.

    Attributes:
        name: Value of ``adapter.method``.
        title: Name in the literature, for model cards.
        attached_by: Class that attaches it, as ``module:Class``; called with the base model, the
            `AdapterSpec` and the seed. It is imported where a trial is attached.
        peft_options: Fields of PEFT's ``LoraConfig`` that make LoRA this method.
        same_as: Method of which this is another name.
        has_rank: True where an adapter of a rank is trained; False where all weights are.
        changes_base: Predicate that says how it writes to the base weights, which a quantised
            model does not allow; None where it leaves them alone.
        no_sharding: Predicate that says why its base weights cannot be split over workers; None
            where they can.
        starts_from_base: True where the first values are computed from the base weights: its
            layers are counted as LoRA's on a model without numbers.
        can_continue: True where a trial can start from another one's adapter, since that is all
            that the other has trained.
        saved_as: Description of the files that a trial leaves.
        saved_rank: Rank of the saved adapter, in ranks of the trained one.
        extra_tensors: Name of what the saved adapter holds besides A and B, which neither vLLM
            nor GGUF takes; None where it is a plain LoRA adapter.
        num_trained: Function from rank, outputs and inputs of a layer to the numbers it trains.
        num_saved: Function from saved rank, outputs and inputs to the numbers that are saved of a
            layer; None where they are those of ``num_trained``.
        num_kept_per_output: Numbers per token and output of a layer that autograd keeps besides
            those of LoRA.
        alpha_per_rank: Alpha in ranks where a file gives none; of the built-in methods that of
            arXiv 2508.17337, Table 7.
        no_gate: Clause that says why a learned mask is impossible; None where it is not.
        no_population: Predicate that says why members of a population cannot copy each other;
            None where they can.
        settings: Section of `AdapterSpec` that this method alone reads.
        min_steps: Optimiser steps of the shortest trial.
        min_steps_reason: Predicate that says why that many are needed.
    """

    name: str
    title: str
    attached_by: str = "droplora_sweep.adapters.adapted:PeftAdapted"
    peft_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    same_as: str | None = None
    has_rank: bool = True
    changes_base: str | None = None
    no_sharding: str | None = None
    starts_from_base: bool = False
    can_continue: bool = True
    saved_as: str = "a plain LoRA adapter"
    saved_rank: int = 1
    extra_tensors: str | None = None
    num_trained: Callable[[int, int, int], int] = num_in_lora
    num_saved: Callable[[int, int, int], int] | None = None
    num_kept_per_output: int = 0
    alpha_per_rank: float = 2
    no_gate: str | None = None
    no_population: str | None = None
    settings: str | None = None
    min_steps: int = 1
    min_steps_reason: str = ""

    @property
    def canonical_name(self) -> str:
        """The one name of methods that train alike."""
        return self.same_as or self.name

    @property
    def is_lora(self) -> bool:
        """True of LoRA by either name, which tables need not name: the pruning rate says all."""
        return self.canonical_name == "lora"


_LORA = Method(name="lora", title="LoRA")
_DECOMPOSED = Method(
    name="pissa",
    title="PiSSA",
    attached_by="droplora_sweep.adapters.methods.decomposed:Pissa",
    changes_base="takes its first values out of the base weights",
    no_sharding="decomposes whole base weights",
    starts_from_base=True,
    can_continue=False,
    saved_as="a plain LoRA adapter for the original base, saved at twice the rank",
    saved_rank=2,
    alpha_per_rank=1,
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            dataclasses.replace(_LORA, name="droplora", same_as="lora"),
            _LORA,
            Method(
                name="dora",
                title="DoRA",
                peft_options={"use_dora": True},
                saved_as="a DoRA adapter as PEFT has it",
                extra_tensors="DoRA's magnitudes",
                no_sharding="takes its magnitudes from whole base weights when it is attached",
                num_trained=num_in_dora,
                num_kept_per_output=2,
            ),
            _DECOMPOSED,
            dataclasses.replace(
                _DECOMPOSED,
                name="milora",
                title="MiLoRA",
                attached_by="droplora_sweep.adapters.methods.decomposed:Milora",
            ),
            Method(
                name="rslora",
                title="rsLoRA",
                peft_options={"use_rslora": True},
                saved_as="a LoRA adapter that PEFT scales by alpha / sqrt(rank)",
            ),
            Method(
                name="lora_drop",
                title="LoRA-drop",
                attached_by="droplora_sweep.adapters.methods.lora_drop:LoraDrop",
                can_continue=False,
                saved_as="a plain LoRA adapter, with what layers share written out for each",
                no_gate="whose dropped layers share one adapter but not one gate",
                no_population="changes its shapes as it trains",
                settings="lora_drop",
                # Two that sample, since the first step of a warmup has a learning rate of 0, and
                # one that trains what is left.
                min_steps=3,
                min_steps_reason="samples before it drops layers",
            ),
            Method(
                name="full",
                title="Full fine-tuning",
                attached_by="droplora_sweep.adapters.methods.full:FullModel",
                has_rank=False,
                changes_base="trains the base weights",
                can_continue=False,
                saved_as="a full model",
                no_population="has no rate",
            ),
        )
    }
)
"""The built-in methods by name."""

SETTINGS = frozenset(method.settings for method in METHODS.values() if method.settings)
"""Sections of `AdapterSpec` that one method alone reads."""


def names_of(name: str) -> tuple[str, ...]:
    """Return the name, then the other names of the same built-in method."""
    own = method_of(name).canonical_name
    others = (one for one, method in METHODS.items() if method.canonical_name == own)
    return (name, *(one for one in others if one != name))


def method_names() -> tuple[str, ...]:
    """Return the name of every method: built in, then brought by packages."""
    return (*METHODS, *sorted(plugins.names(GROUP) - METHODS.keys()))


@functools.cache
def find_method(name: str) -> Method | None:
    """Return the method of this name; None where there is none.

    Raises:
        PluginError: A package brings it, and it cannot be used.
    """
    brought = plugins.load(GROUP, name, Method, builtin=METHODS)
    if brought is not None and brought.name != name:
        raise plugins.PluginError(
            f"entry point {name} of {GROUP}: must have the name of the method that it returns, "
            f"got {brought.name}"
        )
    if brought is not None and not _has_module(brought.attached_by):
        raise plugins.PluginError(
            f"entry point {name} of {GROUP}: `attached_by` must name a class of an installed "
            f"module, as in my_package.adapter:MyAdapter, got {brought.attached_by}"
        )
    return METHODS.get(name) or brought


def _has_module(place: str) -> bool:
    """Return True where the module of ``module:name`` is installed; it is not imported."""
    module, colon, _ = place.partition(":")
    try:
        return bool(colon) and util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def method_of(name: str) -> Method:
    """Return the method of this name, of a spec that was read or of a trial that was recorded.

    A report of results that need a package which is not installed here is better than none: such
    a method has the defaults of a LoRA variant.
    """
    try:
        found = find_method(name)
    except SweepError:
        found = METHODS.get(name)
    return found or Method(name=name, title=name)
