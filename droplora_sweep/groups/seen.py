"""Files as nodes see them, by digests that are compared between nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODEL = "model.path"
SEARCH_MODEL = "search.fidelity.model.path"
DATA = "task.data"
"""Fields of the file that name what is compared."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Digests of a model's files, or of a task's examples, in one place.

    Attributes:
        field: Field of the file that names them.
        place: Node and worker, or the driver, for messages.
        digests: By file, or by benchmark and split.
    """

    field: str
    place: str
    digests: Mapping[str, str]

    def differences(self, other: Seen) -> Iterator[Fault]:
        """Yield a fault for the first thing that another place lacks or has another of.

        >>> here = Seen(field="model.path", place="node a", digests={"config.json": "17"})
        >>> there = Seen(field="model.path", place="node b", digests={"config.json": "18"})
        >>> print(*here.differences(there))
        model.path: must be the same on all nodes: config.json on node b is not that on node a
        """
        for name in sorted({*self.digests, *other.digests}):
            mine, theirs = self.digests.get(name), other.digests.get(name)
            if mine == theirs:
                continue
            if theirs is None:
                problem = f"{name} is on {self.place} and not on {other.place}"
            elif mine is None:
                problem = f"{name} is on {other.place} and not on {self.place}"
            else:
                problem = f"{name} on {other.place} is not that on {self.place}"
            yield Fault("", self.field, f"must be the same on all nodes: {problem}")
            return
