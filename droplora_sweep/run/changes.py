"""What differs between a sweep that was started and the one that is to go on; pure functions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.ledger.recorded import recorded_sweep
from droplora_sweep.spec.composition import METHOD, RANK
from droplora_sweep.spec.fingerprint import QUANTIZER
from droplora_sweep.spec.notes import ALPHA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.records.trial import SweepRecord
    from droplora_sweep.spec import SweepSpec

FREE = (
    "search.num_trials",
    "search.budget",
    "confirm",
    "group",
    "checkpoint",
    "tracking",
    "storage",
)
"""Fields, and sections with all their fields, that a sweep may go on with other values of: they
change how long it runs, where and how it is shown, and no trial's spec. `confirm` and the number of
trials are free until the first confirmation run (see `starting`). Where ``group.num_workers``
changes, trials started from then on have other fingerprints."""

MAX_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Change:
    """One field that has another value than before.

    Attributes:
        field: Dotted path; ``data.<benchmark>/<split>`` and ``versions.<package>`` for what
            is not in the file.
        was: Value of the sweep that was started; None where it had none.
        now: Value it is to go on with; None where it has none.
    """

    field: str
    was: Any
    now: Any

    @property
    def is_free(self) -> bool:
        """Whether a sweep may go on with it."""
        return any(self.field == free or self.field.startswith(f"{free}.") for free in FREE)

    @property
    def problem(self) -> str:
        """``was 16, now 8``; a field without a value is ``not set``."""
        return f"was {_shown(self.was)}, now {_shown(self.now)}"


def changes(
    record: SweepRecord,
    sweep: SweepSpec,
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
) -> list[Change]:
    """Every change, in the order of the spec's fields; then data, then packages.

    Packages that take part in no trial's fingerprint (the quantizer of a sweep that does not
    quantize) are left out.

    Raises:
        SweepError: This version cannot read the sweep that was started.
    """
    before = _with_plain_alpha(recorded_sweep(record)).model_dump(mode="json")
    found = _changes("", before, _with_plain_alpha(sweep).model_dump(mode="json"))
    found += _changes("data", record.data_digests, data_digests)
    unused = () if sweep.model.quantization != "none" else (QUANTIZER,)
    was = {name: version for name, version in record.versions.items() if name not in unused}
    now = {name: version for name, version in versions.items() if name not in unused}
    return found + _changes("versions", was, now)


def _with_plain_alpha(sweep: SweepSpec) -> SweepSpec:
    """The sweep with the alpha that its trials have, where one number is that of all of them.

    One that a file does not give was 64 once, whatever the rank.
    """
    searched = sweep.search.parameters
    if ALPHA in searched and not searched[ALPHA].when:
        no_default = sweep.adapter.model_copy(update={"alpha": None})
        return sweep.model_copy(update={"adapter": no_default})
    return sweep if {METHOD, RANK} & searched.keys() else sweep.with_alpha()


def _changes(path: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    return list(_walk(path, dict(was), dict(now)))


def _walk(path: str, was: Any, now: Any) -> Iterator[Change]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            yield from _walk(f"{path}.{key}".removeprefix("."), was.get(key), now.get(key))
    elif was != now:
        yield Change(path, was, now)


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."
