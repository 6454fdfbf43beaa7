"""Whether a base model can be held in 4 or 8 bits here; no torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import ModelSpec


def require_quantization(spec: ModelSpec) -> None:
    """See that what quantises the model is installed, if anything is to.

    Raises:
        InputError: bitsandbytes is needed and not installed.
    """
    if spec.quantization != "none" and find_spec("bitsandbytes") is None:
        problem = (
            f"must be none where bitsandbytes is not installed, got {spec.quantization}: "
            "pip install 'droplora-sweep[quantization]'"
        )
        raise InputError([Fault("", "model.quantization", problem)])
