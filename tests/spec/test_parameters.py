"""Domains: their members, their size and what is nearest in them."""

from __future__ import annotations

import pytest

from droplora_sweep.spec import Choice, Range


@pytest.mark.parametrize(
    ("domain", "members"),
    [
        (Choice(values=(8, 4)), (8, 4)),
        (Range(min=1, max=4), (1, 2, 3, 4)),
        (Range(min=2, max=8, step=3), (2, 5, 8)),
        (Range(min=1, max=3, scale="log"), (1, 2, 3)),
        (Range(min=0.0, max=0.5, step=0.1), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        (Range(min=0, max=1, step=0.5), (0.0, 0.5, 1.0)),
        (Range(min=0.5, max=0.5), (0.5,)),
        (Range(min=0.0, max=1.0), None),
        (Range(min=1, max=2.5), None),
    ],
)
def test_members(domain: Choice | Range, members: tuple[object, ...] | None) -> None:
    assert domain.members == members
    assert domain.size == (None if members is None else len(members))
    assert [type(member) for member in domain.members or ()] == [*map(type, members or ())]
    assert all(domain.contains(member) for member in members or ())


@pytest.mark.parametrize(
    ("domain", "is_integer"),
    [
        (Range(min=1, max=4), True),
        (Range(min=1, max=4, step=1), True),
        (Range(min=1, max=4, step=0.5), False),
        (Range(min=1.0, max=4), False),
    ],
)
def test_a_range_written_without_points_is_whole_numbers(domain: Range, is_integer: bool) -> None:
    assert domain.is_integer is is_integer


@pytest.mark.parametrize(
    ("domain", "target", "nearest"),
    [
        (Choice(values=(1, 4, 16)), 32, 16),
        (Choice(values=(16, 4, 8)), 6, 4),
        (Choice(values=("token", "step")), "step", "step"),
        (Choice(values=("step",)), "token", "step"),
        (Choice(values=(False, True)), True, True),
        (Choice(values=(64, 256, 128)), None, 256),
        (Range(min=0.0, max=0.4), 0.5, 0.4),
        (Range(min=0.0, max=0.5, step=0.1), 0.30000000000000004, 0.3),
        (Range(min=0.0, max=0.9, step=0.3), 0.5, 0.6),
        (Range(min=2, max=8, step=3), 6, 5),
        (Range(min=1, max=64), 32.4, 32),
        (Range(min=64, max=512), None, 512),
        (Range(min=1e-5, max=1e-4, scale="log"), 3e-4, 1e-4),
    ],
)
def test_nearest(domain: Choice | Range, target: object, nearest: object) -> None:
    assert domain.nearest(target) == nearest
    assert type(domain.nearest(target)) is type(nearest)


def test_nearest_on_a_log_scale_goes_by_ratio() -> None:
    assert Range(min=1, max=2).nearest(1.45) == 1
    assert Range(min=1, max=2, scale="log").nearest(1.45) == 2


@pytest.mark.parametrize(
    ("domain", "stranger"),
    [
        (Choice(values=(1, 2)), True),
        (Choice(values=(1, 2)), 3),
        (Range(min=1, max=4), 2.5),
        (Range(min=1, max=4), 5),
        (Range(min=0.0, max=0.5, step=0.1), 0.25),
        (Range(min=0.0, max=1.0), "0.5"),
    ],
)
def test_strangers(domain: Choice | Range, stranger: object) -> None:
    assert not domain.contains(stranger)
