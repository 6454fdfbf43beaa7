"""When two trials are the same trial."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from typing import TYPE_CHECKING

from droplora_sweep import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .start import AdapterStart
    from .trial import TrialSpec

PACKAGES = ("torch", "transformers", "peft", "deepspeed")
"""The packages, beside this one, whose versions can change a trial's numbers."""

QUANTIZER = "bitsandbytes"
"""Its version changes the numbers of a quantized base alone, and only the extra installs it."""


def fingerprint(
    trial: TrialSpec,
    data_digests: Mapping[str, str],
    packages: Mapping[str, str],
    *,
    num_workers: int,
    start: AdapterStart | None = None,
) -> str:
    """Sha256 of everything that changes a trial's result, as 64 hex digits.

    Every field that has a meaning in the trial counts, the seed included; the mask of an
    unpruned adapter, say, has none (see ``AdapterSpec.canonical``). ``training.micro_batch_size``
    and ``evaluation.batch_size`` count: they leave the mathematics alone, but change which random
    numbers masks and dropout draw, and how sums are rounded. Of a judge its model counts, and by
    their digests its prompts and references; its address, key and limits do not.

    Args:
        trial: The resolved trial.
        data_digests: Digest of each split that is read, by name.
        packages: Version by package, as ``package_versions`` gives them.
        num_workers: Workers that share a global batch; each draws its own masks and dropout.
        start: The adapter that training starts from; of a fresh one, None, nothing is counted.
    """
    adapter = trial.adapter.canonical()
    judge = trial.evaluation.judge
    evaluation = trial.evaluation.model_dump(mode="json") | {"judge": judge and judge.what_rates()}
    unused = set() if trial.model.quantization != "none" else {QUANTIZER}
    content: dict[str, object] = {
        "trial": {
            **trial.model_dump(mode="json"),
            "adapter": adapter.model_dump(mode="json"),
            "training": trial.training.canonical(),
            "evaluation": evaluation,
        },
        "data": dict(data_digests),
        "packages": {name: packages[name] for name in packages if name not in unused},
        "num_workers": num_workers,
    }
    if start is not None:
        content["start"] = start.digest
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Installed versions of ``PACKAGES``, read from their metadata, and of this package.

    The quantizer is left out where it is not installed. This package need not be installed: a Ray
    job may bring it in its working folder.
    """
    versions = {name: metadata.version(name) for name in PACKAGES}
    if next(iter(metadata.distributions(name=QUANTIZER)), None) is not None:
        versions[QUANTIZER] = metadata.version(QUANTIZER)
    return {**versions, "droplora-sweep": __version__}
