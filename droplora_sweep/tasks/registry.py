"""Benchmarks and training mixtures: one entry each in ``benchmarks.yaml``, or from a plug-in.

A plug-in's package names its benchmark in its ``pyproject.toml``::

    [project.entry-points."droplora_sweep.benchmarks"]
    my_benchmark = "my_package:my_benchmark"

``my_package.my_benchmark`` is called without arguments and returns a ``BenchmarkEntry``. With
``folders`` its files are read like those of a known benchmark. With ``load`` it reads them itself:
``load(folder)``, where ``folder`` is ``task.data`` (None if that is null), returns a mapping of
``train``, ``validation`` and ``test`` (each may be missing) to lists of ``Example``. It must return
the same examples on each call, and the package must be installed wherever a trial runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from droplora_sweep import plugins
from droplora_sweep.scorers.harness import HarnessScorer
from droplora_sweep.scorers.table import make_scorer
from droplora_sweep.spec import PLUGIN_GROUP

from .builtin.generation import BUILTIN_BENCHMARKS
from .task import CODE_TEMPLATE, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.scorers.harness import HarnessSettings
    from droplora_sweep.scorers.scorer import Direction, Scorer
    from droplora_sweep.spec import Format, RecordField, SplitName

    from .task import Example


BUILTIN_DATA_SEED: Final = 20250823
"""Seed of the built-in benchmarks: not a trial's, so that all trials see the same data."""


@dataclass(frozen=True)
class BenchmarkEntry:
    """A benchmark or training mixture before its data is read.

    Attributes:
        scoring: Name of its scorer (see ``scorers.table``); None for a training mixture, which is
            not scored.
        options: Names of the options, for scorers that need them.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        template: The prompt without it, where ``task.prompt`` is null; None is the paper's.
        folders: Names its folder may have inside ``task.data``; the first that exists is read.
        published_sizes: Examples per published split.
        max_new_tokens: Enough for every gold response, where the benchmark knows; else None.
        formats: Layouts its files may have; the first record tells which one it is.
        files: Published file names by split, beside ``train.json`` and so on.
        pattern: Regular expression of an answer, for scorers that need one.
        fields: Name in the file by field's name, where its files have names of their own.
        splits: Name of a split in the data by ours, where it has another.
        published_as: Name under which the data is published.
        is_chat: True where conversations are read whole, for a chat template.
        command: Program and arguments, for ``scoring: command``.
        command_timeout_s: Seconds that it may take; the usual ones where None.
        direction: Side on which its scorer's numbers are better; the scorer's own where None.
        metrics: Corpus metrics that are reported beside the score.
        harness: The task of lm-evaluation-harness that it is, if it is one.
        load: Reads the data instead of this package (see above): from ``task.data``'s
            folder, or None, to the examples of each split.
    """

    scoring: str | None = None
    options: tuple[str, ...] = ()
    prompt_suffix: str = "\n"
    template: str | None = None
    folders: tuple[str, ...] = ()
    published_sizes: Mapping[str, int] = field(default_factory=dict)
    max_new_tokens: int | None = None
    formats: tuple[Format, ...] = ("llm_adapters",)
    files: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    fields: Mapping[RecordField, str] = field(default_factory=dict)
    splits: Mapping[SplitName, str] = field(default_factory=dict)
    published_as: str | None = None
    is_chat: bool = False
    command: tuple[str, ...] = ()
    command_timeout_s: float | None = None
    direction: Direction | None = None
    metrics: tuple[str, ...] = ()
    harness: HarnessSettings | None = None
    load: Callable[[Path | None], Mapping[str, Sequence[Example]]] | None = None

    @property
    def scorer(self) -> Scorer:
        """The scorer of a benchmark.

        Raises:
            PluginError: No package brings it here, or its entry point leads to none.
        """
        if self.harness is not None:
            return HarnessScorer(settings=self.harness)
        assert self.scoring is not None, "a training mixture is not scored"
        return make_scorer(
            self.scoring,
            self.options,
            self.pattern,
            command=self.command,
            command_timeout_s=self.command_timeout_s,
            direction=self.direction,
        )

    @property
    def needs_answers(self) -> bool:
        """True where responses are compared with right answers."""
        return self.scoring is not None and not self.scorer.is_rated

    @property
    def is_builtin(self) -> bool:
        """True where the data is generated, so that no folder is read."""
        return not self.folders and self.load is None

    @property
    def has_training_split(self) -> bool:
        """True where it is published with examples to train on, or its sizes are not known."""
        return "train" in self.published_sizes or not self.published_sizes


_TEMPLATES: Final = {None: None, "alpaca": TEMPLATE, "code": CODE_TEMPLATE}


def _read_entries(table: Mapping[str, Mapping[str, Any]]) -> dict[str, BenchmarkEntry]:
    """Return the entries of a section of ``benchmarks.yaml``."""
    entries = {}
    for name, given in table.items():
        fields: dict[str, Any] = {
            field: tuple(one) if isinstance(one, list) else one for field, one in given.items()
        }
        fields["template"] = _TEMPLATES[given.get("template")]
        entries[name] = BenchmarkEntry(**fields)
    return entries


_TABLE: Final = yaml.safe_load(
    Path(__file__).with_name("benchmarks.yaml").read_text(encoding="utf-8")
)

BENCHMARKS: Final[dict[str, BenchmarkEntry]] = {
    **_read_entries(_TABLE["benchmarks"]),
    **{
        name: BenchmarkEntry(
            scoring=one.scoring,
            options=one.options,
            prompt_suffix=one.prompt_suffix,
            published_sizes={"train": 2_000, "validation": 1_000, "test": 500},
            max_new_tokens=one.max_new_tokens,
        )
        for name, one in BUILTIN_BENCHMARKS.items()
    },
}
"""Every benchmark by the name it has in ``task.benchmarks``: those of ``spec.BENCHMARK_NAMES``."""

MIXTURES: Final[dict[str, BenchmarkEntry]] = _read_entries(_TABLE["mixtures"])
"""Every training mixture by the name it has in ``task.train.name``."""


def find_benchmark(name: str) -> BenchmarkEntry | None:
    """Return the entry of a benchmark that is built in or that an installed package brings.

    Raises:
        PluginError: The package's entry point does not lead to a benchmark.
    """
    brought = plugins.load(PLUGIN_GROUP, name, BenchmarkEntry, BENCHMARKS)
    if brought is not None and brought.is_builtin:
        raise plugins.PluginError(
            f"entry point {name}: must return an entry with `folders` or `load`, got neither"
        )
    return brought or BENCHMARKS.get(name)
