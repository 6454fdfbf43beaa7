"""The domains a sweep searches: a choice of values, or a range."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Literal, TypeGuard

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from .base import Scalar, SpecModel, broken_rule

Number = int | float


def _scalar(value: object) -> object:
    if not isinstance(value, Scalar):
        raise broken_rule(f"must be a number, text, true or false, got {_shown(value)}")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, Number):
        raise broken_rule(f"must be a number, got {_shown(value)}")
    return value


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def _shown(value: object) -> str:
    return "null" if value is None else repr(value)


Listed = list[int | str]
ScalarValue = Annotated[Scalar, BeforeValidator(_scalar, json_schema_input_type=Scalar | Listed)]
NumberValue = Annotated[Number, BeforeValidator(_number)]
Condition = Annotated[
    tuple[ScalarValue, ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_listed, json_schema_input_type=Scalar | list[Scalar | Listed]),
]


def same(left: Scalar | None, right: Scalar | None) -> bool:
    """Equality as YAML has it: ``1`` equals ``1.0``, but not ``true``."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


class Domain(SpecModel):
    """Common part of choices and ranges."""

    ratio_of: str | None = None
    """Dotted path of a numeric field: the values are multiplied by that field's value."""
    when: dict[str, Condition] = Field(default_factory=dict)
    """Searched only where each field named here has the value, or one of the values, given."""


class Choice(Domain):
    """A list of values, in no order that the search makes use of."""

    values: tuple[ScalarValue, ...] = Field(strict=False)
    """The values to choose from; of ``adapter.target_modules`` and ``adapter.layers`` lists too."""

    @model_validator(mode="after")
    def _values_differ(self) -> Choice:
        if not self.values:
            raise broken_rule("must not be empty, got []", "values")
        for index, value in enumerate(self.values):
            if any(same(value, earlier) for earlier in self.values[:index]):
                raise broken_rule(f"must differ from each other, got {value!r} twice", "values")
        return self

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def probes(self) -> tuple[tuple[tuple[str | int, ...], Scalar], ...]:
        """Every value with its place under the parameter: all are valid if these are."""
        return tuple((("values", index), value) for index, value in enumerate(self.values))

    @property
    def members(self) -> tuple[Scalar, ...]:
        """Every value."""
        return self.values

    def at(self, position: float) -> Scalar:
        """The value at a position in [0, 1]: each has an equal part, in the order given."""
        return self.values[_part(position, self.size)]

    def contains(self, value: Scalar) -> bool:
        """Return whether ``value`` is one of the values."""
        return any(same(value, mine) for mine in self.values)

    def nearest(self, target: Scalar | None) -> Scalar:
        """The value nearest to ``target``, the smaller of two equally near ones.

        Null means "no limit" and gives the largest value. Values that cannot be compared with
        ``target`` by distance give ``target`` itself if it is among them, else the first value.
        """
        numbers = [value for value in self.values if is_number(value)]
        if len(numbers) == len(self.values):
            if target is None:
                return max(numbers)
            if is_number(target):
                return min(numbers, key=lambda value: (abs(value - target), value))
        return next((value for value in self.values if same(value, target)), self.values[0])


class Range(Domain):
    """Numbers from ``min`` to ``max``, both included.

    Only whole numbers are searched where ``min``, ``max`` and ``step`` are all written without a
    decimal point: ``{min: 0, max: 1}`` has two values, ``{min: 0.0, max: 1.0}`` any number between.
    """

    min: NumberValue
    """The smallest value."""
    max: NumberValue
    """The largest value."""
    step: NumberValue | None = None
    """Distance of neighbouring values; any number, or every whole number, where null."""
    scale: Literal["linear", "log"] = "linear"
    """``log`` searches each factor of ten alike; for learning rates."""

    @model_validator(mode="after")
    def _ends_fit(self) -> Range:
        if self.min > self.max:
            raise broken_rule(f"`min <= max` must hold, got min={self.min}, max={self.max}")
        if self.scale == "log" and self.min <= 0:
            raise broken_rule(f"must be greater than 0 with `scale: log`, got {self.min}", "min")
        if self.step is None:
            return self
        if self.scale == "log":
            raise broken_rule(f"must be left out with `scale: log`, got {self.step}", "step")
        if self.step <= 0:
            raise broken_rule(f"must be greater than 0, got {self.step}", "step")
        if (_decimal(self.max) - _decimal(self.min)) % _decimal(self.step) != 0:
            raise broken_rule(
                "`max` must be `min` plus a whole number of steps, "
                f"got min={self.min}, max={self.max}, step={self.step}"
            )
        return self

    @property
    def is_integer(self) -> bool:
        """True where only whole numbers are searched."""
        return all(isinstance(end, int) for end in (self.min, self.max, self.step or 0))

    @property
    def size(self) -> int | None:
        """Number of values; None for a continuum."""
        if self.min == self.max:
            return 1
        spacing = self._spacing
        return None if spacing is None else round((self.max - self.min) / spacing) + 1

    @property
    def probes(self) -> tuple[tuple[tuple[str | int, ...], Scalar], ...]:
        """Both ends with their place under the parameter: all values are valid if these are.

        A step is among them where it alone makes the range one of fractions.
        """
        ends = ((("min",), self.min), (("max",), self.max))
        if isinstance(self.step, float) and isinstance(self.max, int) and self.min < self.max:
            return (*ends, (("step",), self._member(1)))
        return ends

    @property
    def members(self) -> tuple[Scalar, ...] | None:
        """Every value in ascending order; None for a continuum."""
        return None if self.size is None else tuple(map(self._member, range(self.size)))

    def at(self, position: float) -> Number:
        """The value at a position in [0, 1] along the scale; each step has an equal part."""
        if self.scale == "log":
            low, high = math.log(self.min), math.log(self.max)
            return self.nearest(math.exp(low + position * (high - low)))
        if self.size is None:
            return self.nearest(self.min + position * (self.max - self.min))
        return self._member(_part(position, self.size))

    def position(self, value: Number) -> float:
        """Return the position of a value in [0, 1]; ``at`` gives the value back."""
        if self.min == self.max:
            return 0.5
        if self.scale == "log":
            low, high = math.log(self.min), math.log(self.max)
            return (math.log(value) - low) / (high - low)
        share = (value - self.min) / (self.max - self.min)
        return share if self.size is None else (share * (self.size - 1) + 0.5) / self.size

    def contains(self, value: Scalar) -> bool:
        """Return whether ``value`` is in the range, and on its steps up to rounding."""
        return is_number(value) and math.isclose(self.nearest(value), value, rel_tol=1e-9)

    def nearest(self, target: Scalar | None) -> Number:
        """The value nearest to ``target``, by ratio where the scale is log; the smaller of two.

        Null means "no limit" and gives the largest value.
        """
        if not is_number(target):
            return self.max
        clamped = min(max(target, self.min), self.max)
        if self._spacing is None or self.size == 1:
            return clamped if self.is_integer else float(clamped)
        below = math.floor((clamped - self.min) / self._spacing + 1e-9)
        assert self.size is not None
        candidates = [self._member(index) for index in (below, min(below + 1, self.size - 1))]
        return min(candidates, key=lambda member: (self._distance(member, clamped), member))

    @property
    def _spacing(self) -> Number | None:
        return 1 if self.step is None and self.is_integer else self.step

    def _member(self, index: int) -> Number:
        """``min + index * step`` in decimal: three binary steps of 0.1 miss 0.3 by rounding."""
        if self.is_integer:
            return self.min + index * (self._spacing or 0)
        return float(_decimal(self.min) + index * _decimal(self._spacing or 0))

    def _distance(self, left: Number, right: Number) -> float:
        return abs(math.log(left / right)) if self.scale == "log" else abs(left - right)


def _part(position: float, num_parts: int) -> int:
    return min(int(position * num_parts), num_parts - 1)


def _decimal(number: Number) -> Decimal:
    """The number as it is written, without binary rounding."""
    return Decimal(str(number))


def is_number(value: object) -> TypeGuard[Number]:
    """Return whether ``value`` is a number as YAML has it: true and false are none."""
    return isinstance(value, Number) and not isinstance(value, bool)


def _kind(value: object) -> str | None:
    if isinstance(value, Choice) or (isinstance(value, dict) and "values" in value):
        return "choice"
    if isinstance(value, Range) or (isinstance(value, dict) and {"min", "max"} & value.keys()):
        return "range"
    return None


Parameter = Annotated[
    Annotated[Choice, Tag("choice")] | Annotated[Range, Tag("range")],
    Discriminator(
        _kind,
        custom_error_type="no_domain",
        custom_error_message="must have `values`, or `min` and `max`",
    ),
]
"""One searched field's domain."""
