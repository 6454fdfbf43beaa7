"""Fidelity of a search: what its trials train on less of than the confirmation's runs do.

A search ranks settings; on a tenth of the data it does that for a tenth of the time (arXiv
2602.11171 ranks LoRA settings so). What a search at low fidelity has seen is a hint about training
on all of it, so the confirmation trains in full and decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)

from .base import Count, PathText, SpecModel, broken_rule
from .task import num_kept

if TYPE_CHECKING:
    from collections.abc import Mapping

NUM_TRAIN = "task.num_train"
TRAIN_SHARE = "task.train_share"
EPOCHS = "training.epochs"
MODEL_PATH = "model.path"
MODEL_REVISION = "model.revision"


def _count_or_share(value: Any) -> Any:
    if value is None:
        return None
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if is_count or (isinstance(value, float) and 0 < value < 1):
        return value
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    raise broken_rule(
        f"must be a number of examples, at least 1, or a share of them in (0, 1), got {shown}"
    )


CountOrShare = Annotated[
    int | float | None,
    BeforeValidator(_count_or_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                {"type": "null"},
            ]
        }
    ),
]


class FidelitySpec(SpecModel):
    """Fields that the search's trials have other values of than the confirmation's runs.

    Each key is the dotted path of a trial's field. Validation and confirmation examples are the
    same at both fidelities.
    """

    # Files and ledgers have dotted keys, which no Python attribute can be called.
    model_config = ConfigDict(serialize_by_alias=True)

    num_train: CountOrShare = Field(default=None, alias="task.num_train")
    """Training examples of each benchmark or mixture, or a share in (0, 1) of those that the sweep
    trains on: the first in the same stable order, so that every fidelity holds the lower ones."""
    epochs: Count | None = Field(default=None, alias="training.epochs")
    """Passes over the training data, fewer than ``training.epochs``."""
    model_path: PathText | None = Field(default=None, alias="model.path")
    """A smaller base model of the family, as ``model.path`` has it; the confirmation trains the
    sweep's own. A learning rate that suits the small one need not suit the large one."""
    model_revision: str | None = Field(default=None, alias="model.revision")
    """Commit of a Hub id in ``model.path`` here; required for one."""

    @model_serializer(mode="wrap")
    def _given_alone(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Its keys that have a value, as a user gives them."""
        return {name: value for name, value in serialize(self).items() if value is not None}

    @property
    def is_shorter(self) -> bool:
        """True where its trials take fewer steps than full ones."""
        return self.num_train is not None or self.epochs is not None

    def num_examples(self, number: int) -> int:
        """Return how many of a data set's training examples a trial of the search trains on."""
        limit = self.num_train
        is_share = isinstance(limit, float)
        count, share = (None, limit) if is_share else (limit, None)
        return num_kept(number, None if count is None else int(count), share)


def fidelity_text(spec: Mapping[str, Any]) -> str | None:
    """Return what the search's trials are trained on, in words; None where it is everything.

    Args:
        spec: A ``SweepSpec`` as JSON values.

    >>> fidelity = {"task.num_train": 0.1, "training.epochs": 1}
    >>> fidelity_text({"search": {"fidelity": fidelity}, "training": {"epochs": 3}})
    '10% of the training examples, 1 epoch of 3'
    """
    fidelity = spec["search"].get("fidelity") or {}
    parts = []
    num_train, epochs = fidelity.get(NUM_TRAIN), fidelity.get(EPOCHS)
    if isinstance(num_train, float):
        parts.append(f"{100 * num_train:.3g}% of the training examples")
    elif num_train is not None:
        mixture = spec["task"].get("train")
        each = "each benchmark" if mixture is None else mixture["name"]
        parts.append(f"at most {num_train:,} training examples of {each}")
    if epochs is not None:
        parts.append(f"{epochs} epoch{'s' * (epochs != 1)} of {spec['training']['epochs']}")
    if (path := fidelity.get(MODEL_PATH)) is not None:
        parts.append(f"the model {path}")
    return ", ".join(parts) or None
