"""Tables of a task's data, and titles of examples as the model reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.plan.data_survey import QUANTILES
from droplora_sweep.present.values import DASH, format_probability, plural

from .table import Cell, Table, row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.plan.data_survey import DataSurvey, Lengths, ShownExample, SplitSurvey

COUNTED_MARKS: Final = (
    "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}",
    "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}",
)
"""Signs around what has a loss, which a terminal without colours shows too."""


def data_tables(found: DataSurvey) -> Iterator[Table]:
    """Yield the table of the splits, then what they share and what is left out, where any is."""
    rows = tuple(_split_row(one) for one in found.splits)
    shares = (f"{share:.0%} have at most" for share in QUANTILES[1:])
    columns = (
        "split",
        "examples",
        "repeated",
        "median tokens",
        *shares,
        "longest",
        "limit",
        "over",
    )
    notes = [
        "repeated: asked before in the same split; in brackets those with another response"
    ] * any(one.num_repeated for one in found.splits)
    if any(one.lengths is not None for one in found.splits):
        notes.append(
            f"tokens as the tokenizer of {found.model} splits prompt, response and end in train, "
            "and the prompt alone elsewhere"
        )
    yield Table(f"Data of {found.name}", columns, rows, tuple(notes))
    if found.overlaps:
        shared = tuple(
            row(one.split, one.other, f"{one.num_exact:,}", f"{one.num_normalised:,}")
            for one in found.overlaps
        )
        columns = ("split", "shares with", "the same text", "but for case and space")
        yield Table("Examples of several splits", columns, shared, ("the first loses them",))
    if found.left_out:
        rows = tuple(row(one.name, f"{one.number:,}", one.reason) for one in found.left_out)
        yield Table("Left out, or cut", ("split", "examples", "reason"), rows)


def _split_row(one: SplitSurvey) -> Any:
    repeated = f"{one.num_repeated:,}"
    if one.num_contradicting:
        repeated += f" ({one.num_contradicting:,})"
    name = f"{one.name}/{one.split}"
    cells = (name, f"{one.num_examples:,}", repeated)
    if one.lengths is None:
        return row(*cells, *[DASH] * (len(QUANTILES) + 3))
    return row(*cells, *_length_cells(one.lengths))


def _length_cells(lengths: Lengths) -> Iterator[Cell | str]:
    yield from (f"{lengths.quantiles[share]:,}" for share in QUANTILES)
    yield f"{lengths.longest:,}"
    yield DASH if lengths.limit is None else f"{lengths.limit:,}"
    yield Cell(format_probability(lengths.share_over), value=lengths.share_over)


def example_title(example: ShownExample) -> str:
    """Return the line above an example."""
    size = f"an example of {example.name}, {plural(example.num_tokens, 'token')}"
    if not example.num_counted:
        return f"{size}, none with a loss: the model is asked to continue it"
    start, end = COUNTED_MARKS
    return f"{size}, of which {example.num_counted:,} have a loss, between {start} and {end}"


def data_json(found: DataSurvey) -> dict[str, Any]:
    """Return a survey for other programs."""
    return {
        "name": found.name,
        "model": found.model,
        "splits": [
            {
                "name": one.name,
                "split": one.split,
                "examples": one.num_examples,
                "repeated": one.num_repeated,
                "contradicting": one.num_contradicting,
                "tokens": None if one.lengths is None else _lengths_json(one.lengths),
            }
            for one in found.splits
        ],
        "overlaps": [
            {
                "split": one.split,
                "other": one.other,
                "exact": one.num_exact,
                "normalised": one.num_normalised,
            }
            for one in found.overlaps
        ],
        "left_out": [
            {"split": one.name, "examples": one.number, "reason": one.reason}
            for one in found.left_out
        ],
        "examples": [
            {
                "split": one.name,
                "tokens": one.num_tokens,
                "counted": one.num_counted,
                "pieces": [{"text": text, "counted": counted} for text, counted in one.pieces],
            }
            for one in found.examples
        ],
        "notes": list(found.notes),
        "not_checked": list(found.unchecked),
    }


def _lengths_json(lengths: Lengths) -> Mapping[str, Any]:
    return {
        "quantiles": {str(share): value for share, value in lengths.quantiles.items()},
        "longest": lengths.longest,
        "counted": lengths.num_counted,
        "limit": lengths.limit,
        "share_over": lengths.share_over,
    }
