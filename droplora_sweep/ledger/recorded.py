"""A sweep as its ledger has it, in the form in which a file's is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from droplora_sweep.errors import SweepError
from droplora_sweep.spec import SweepSpec, TrialSpec
from droplora_sweep.spec.loader import recorded_sweep_file
from droplora_sweep.storage import storage_name

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.spec import SweepFile


def recorded_sweep(record: SweepRecord) -> SweepSpec:
    """The spec of a sweep's last start.

    Raises:
        SweepError: Another version of this package wrote it, and this one cannot read it.
    """
    try:
        return SweepSpec.model_validate_json(json.dumps(record.spec))
    except ValidationError as error:
        wrote = record.versions.get("droplora-sweep", "another version")
        raise SweepError(
            f"{record.name}: was started by droplora-sweep {wrote}, whose spec this version "
            f"cannot read: {error.errors()[0]['msg']}"
        ) from error


def recorded_trial(record: TrialRecord) -> TrialSpec:
    """The trial's spec, from its JSON values."""
    return TrialSpec.model_validate_json(json.dumps(record.spec))


def recorded_file(record: SweepRecord, storage: Path, name: str | None = None) -> SweepFile:
    """The spec of a sweep's last start as a file's, to be prepared and run.

    Args:
        record: The sweep.
        storage: Where it was found.
        name: Another name, for a fork.

    Raises:
        SweepError: This version cannot read it.
    """
    update = {"storage": storage_name(storage), "name": name or record.name}
    sweep = SweepSpec.model_validate({**dict(recorded_sweep(record)), **update})
    return recorded_sweep_file(sweep, f"sweep {record.name}")
