"""Choice of the layers that get an adapter, as a file gives it and as one text; light.

A search needs values that are equal or not, and tables and MLflow a name for each. So a list is
also one text, ``q_proj, v_proj`` or ``0-7, 12``, and a file may give either.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .base import broken_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .base import Scalar

ALL_LINEAR = "all-linear"
"""Every linear layer but the output layer, as PEFT's name of the same."""

ALL_LAYERS = "all"
"""Every layer of the stack."""

_NAMES = re.compile(r"[\w.-]+(?:\s*,\s*[\w.-]+)*")
_NUMBERS = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")
_NUMBER = re.compile(r"(?:^|\.)(\d+)\.")


def read_targets(value: object) -> tuple[str, ...] | str:
    """Return names of layers as a tuple, ``all-linear`` or a regular expression as text.

    A text of letters, digits, ``_``, ``.``, ``-`` and commas is a list of names; any other is a
    regular expression.

    Raises:
        PydanticCustomError: It is none of these.
    """
    names = value
    if isinstance(value, str):
        text = value.strip()
        if text and text != ALL_LINEAR and not _NAMES.fullmatch(text):
            return _expression(text)
        names = [part.strip() for part in text.split(",")] if text else []
    if isinstance(names, list | tuple) and all(isinstance(one, str) for one in names):
        if not names:
            raise broken_rule(f"must not be empty, got {value!r}")
        return ALL_LINEAR if list(names) == [ALL_LINEAR] else tuple(names)
    raise broken_rule(
        f"must be a list of names, {ALL_LINEAR} or a regular expression, got {value!r}"
    )


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        problem = f"must be a regular expression where it is no list of names, got {text!r}"
        raise broken_rule(f"{problem}: {error}") from error
    return text


def read_layers(value: object) -> tuple[int, ...] | str:
    """Return the numbers of layers, ascending and each once, or ``all``.

    Raises:
        PydanticCustomError: It is neither of these.
    """
    if value == ALL_LAYERS:
        return ALL_LAYERS
    parts = value.split(",") if isinstance(value, str) else value
    numbers: set[int] = set()
    for part in parts if isinstance(parts, list | tuple) else [parts]:
        found = _NUMBERS.fullmatch(str(part).strip())
        first, last = (found[1], found[2] or found[1]) if found else ("1", "0")
        if isinstance(part, bool) or int(first) > int(last):
            numbers.clear()
            break
        numbers.update(range(int(first), int(last) + 1))
    if not numbers:
        raise broken_rule(
            "must be all, or numbers of layers from 0 on, as in [0, 1] or 0-7, got "
            f"{'null' if value is None else repr(value)}"
        )
    return tuple(sorted(numbers))


def targets_text(targets: tuple[str, ...] | str) -> str:
    """Return the targets as one text.

    >>> targets_text(("q_proj", "v_proj")), targets_text("all-linear")
    ('q_proj, v_proj', 'all-linear')
    """
    return targets if isinstance(targets, str) else ", ".join(targets)


def layers_text(layers: tuple[int, ...] | str) -> str:
    """Return the layers as one text.

    >>> layers_text((0, 1, 2, 3, 8, 10, 11)), layers_text("all")
    ('0-3, 8, 10-11', 'all')
    """
    if isinstance(layers, str):
        return layers
    starts = [layers[0], *(right for left, right in pairwise(layers) if right != left + 1)]
    ends = [*(left for left, right in pairwise(layers) if right != left + 1), layers[-1]]
    spans = zip(starts, ends, strict=True)
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def layer_number(module: str) -> int | None:
    """Return the number of the layer of the stack that a module is in, as PEFT finds it.

    >>> layer_number("model.layers.3.mlp.experts.0.w1"), layer_number("lm_head")
    (3, None)
    """
    found = _NUMBER.search(module)
    return None if found is None else int(found[1])


def names(name: str, module: str) -> bool:
    """PEFT's rule: a layer is named by its full name, or by its last part or parts."""
    return module == name or module.endswith(f".{name}")


def is_chosen(
    module: str, targets: tuple[str, ...] | str, layers: tuple[int, ...] | str = ALL_LAYERS
) -> bool:
    """Return True where a module is among the targets; with ``all-linear`` any is that is linear.

    Args:
        module: Full name of a module.
        targets: Names, ``all-linear`` or a regular expression that the whole name has to match.
        layers: Numbers of the layers of the stack, or all; without a number it is in none. As in
            PEFT, a module that is named in full is chosen whatever they are.
    """
    if not isinstance(targets, str) and module in targets:
        return True
    number = layer_number(module)
    if layers != ALL_LAYERS and number not in layers:
        return False
    if targets == ALL_LINEAR:
        return True
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(names(target, module) for target in targets)


_TEXTS = {
    "adapter.target_modules": lambda value: targets_text(read_targets(value)),
    "adapter.layers": lambda value: layers_text(read_layers(value)),
}


def field_text(path: str, value: Any) -> Any:
    """Return the value of a field as one value: a list as its text, any other as it is."""
    return _TEXTS[path](value) if path in _TEXTS else value


def with_texts(parameters: object) -> object:
    """Return searched fields as they were given, with lists among their values as texts.

    What is no list of such a field is left as it is, for the rules of the field to refuse.
    """
    if not isinstance(parameters, dict):
        return parameters
    return {path: _with_texts(path, domain) for path, domain in parameters.items()}


def _with_texts(path: str, domain: Any) -> Any:
    if not isinstance(domain, dict):
        return domain
    changed = dict(domain)
    if path in _TEXTS and isinstance(domain.get("values"), list | tuple):
        changed["values"] = [_text_or(path, value) for value in domain["values"]]
    when = domain.get("when")
    if isinstance(when, dict):
        changed["when"] = {other: _options(other, given) for other, given in when.items()}
    return changed


def _options(path: str, given: Any) -> Any:
    """Return the values that a ``when`` names; a flat list names one value each."""
    if path not in _TEXTS:
        return given
    listed: Iterable[Any] = given if isinstance(given, list | tuple) else [given]
    return [_text_or(path, value) for value in listed]


def _text_or(path: str, value: Any) -> Scalar | Any:
    # A fault is pydantic's to find, where it knows the place.
    try:
        return _TEXTS[path](value)
    except ValueError:
        return value


def is_within(name: str, module: str) -> bool:
    """Return True where a module has this name, or is a part of one that has it."""
    return f".{name}." in f".{module}."


def longest_key(keys: Mapping[str, Any], module: str) -> str | None:
    """Return the longest key that names a layer; None where none does."""
    naming = [key for key in keys if names(key, module)]
    return max(naming, key=len) if naming else None
