"""Which trial is which: names and fingerprints under one sweep's data, packages and workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.records.trial import Stage, trial_id
from droplora_sweep.spec import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.spec import AdapterStart, TrialSpec


@dataclass(frozen=True)
class Identity:
    """Names trials.

    Attributes:
        data_digests: Digest of each split that is read, by name.
        versions: Version by package.
        num_workers: Workers that share a global batch.
    """

    data_digests: Mapping[str, str]
    versions: Mapping[str, str]
    num_workers: int

    def __call__(
        self,
        number: int,
        spec: TrialSpec,
        start: AdapterStart | None = None,
        stage: Stage = Stage.SEARCH,
    ) -> tuple[str, str]:
        """Trial id and fingerprint of a numbered trial of a stage, begun from an adapter or not."""
        digests, versions, workers = self.data_digests, self.versions, self.num_workers
        digest = fingerprint(spec, digests, versions, num_workers=workers, start=start)
        return trial_id(number, digest, stage), digest
