"""Decisions on the number of groups, and the book that gives a group a lease or its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from droplora_sweep.errors import InputError
from droplora_sweep.groups.leases import LeaseBook
from droplora_sweep.groups.messages import Lease, Released, Workload
from droplora_sweep.groups.scaling import MIN_GROUPS, Scaling, decide_scaling
from droplora_sweep.records.messages import Submission
from droplora_sweep.spec import GroupSpec

GRACE_S = 300.0


def workload(num_waiting: int = 0, num_leased: int = 0, **idle_s: float) -> Workload:
    return Workload(num_waiting=num_waiting, num_leased=num_leased, idle_s=idle_s)


def decide(groups: str, work: Workload, room: int | None = None, num_released: int = 0) -> Scaling:
    """With as much room as there were groups, if nothing else is said."""
    names = groups.split()
    room = len(names) + num_released if room is None else room
    return decide_scaling(
        names, work, room=room, num_released=num_released, release_after_s=GRACE_S
    )


@st.composite
def situations(draw: st.DrawFn) -> dict[str, object]:
    """Any number of groups, each of which starts, works or waits, and any work for them."""
    states = draw(st.lists(st.sampled_from(["starts", "works", "waits"]), max_size=6))
    idle_s = {
        f"g{number}": draw(st.floats(0.0, 1000.0))
        for number, state in enumerate(states)
        if state == "waits"
    }
    work = Workload(
        num_waiting=draw(st.integers(0, 8)), num_leased=states.count("works"), idle_s=idle_s
    )
    return {
        "groups": [f"g{number}" for number in range(len(states))],
        "workload": work,
        "room": draw(st.integers(0, 8)),
        "num_released": draw(st.integers(0, 6)),
        "release_after_s": draw(st.one_of(st.none(), st.floats(1.0, 900.0))),
    }


@given(situations())
def test_no_group_is_released_that_some_work_needs(situation: dict[str, object]) -> None:
    scaling = decide_scaling(**situation)  # type: ignore[arg-type]
    work, grace_s = situation["workload"], situation["release_after_s"]
    assert isinstance(work, Workload)
    if scaling.releases:
        assert (scaling.num_new, scaling.num_again) == (0, 0)
        assert isinstance(grace_s, float)
        assert min(work.idle_s[name] for name in scaling.releases) >= grace_s
        left = len(situation["groups"]) - len(scaling.releases)  # type: ignore[arg-type]
        assert left >= max(MIN_GROUPS, work.num_leased + work.num_waiting)


@given(situations())
def test_groups_start_for_work_or_new_room_and_never_beyond_the_room(
    situation: dict[str, object],
) -> None:
    scaling = decide_scaling(**situation)  # type: ignore[arg-type]
    work = situation["workload"]
    assert isinstance(work, Workload)
    present, room = len(situation["groups"]), situation["room"]  # type: ignore[arg-type]
    assert isinstance(room, int)
    after = present + scaling.num_new + scaling.num_again
    assert scaling.num_again <= situation["num_released"]  # type: ignore[operator]
    assert after <= max(present, room)
    assert after >= min(room, work.num_leased + work.num_waiting)
    if not situation["num_released"]:
        assert after >= room


@given(situations())
def test_acting_on_a_decision_leaves_nothing_to_start(situation: dict[str, object]) -> None:
    scaling = decide_scaling(**situation)  # type: ignore[arg-type]
    groups, released = situation["groups"], situation["num_released"]
    assert isinstance(groups, list)
    assert isinstance(released, int)
    kept = [name for name in groups if name not in scaling.releases]
    started = [f"new{number}" for number in range(scaling.num_new + scaling.num_again)]
    after = {
        **situation,
        "groups": [*kept, *started],
        "num_released": released - scaling.num_again + len(scaling.releases),
    }
    then = decide_scaling(**after)  # type: ignore[arg-type]
    assert (then.num_new, then.num_again) == (0, 0)


def test_the_longest_idle_groups_go_and_one_stays() -> None:
    assert decide("g0 g1 g2", workload(g0=400, g1=900, g2=10)).releases == ("g1", "g0")
    assert decide("g0 g1", workload(g0=400, g1=900)).releases == ("g1",)
    assert decide("g0", workload(g0=4000)).releases == ()
    assert decide("g0 g1", workload(num_leased=1, g1=299)).releases == ()


def test_a_released_group_starts_again_for_work_that_the_others_do_not_take() -> None:
    assert decide("g0", workload(num_leased=1), num_released=2) == Scaling()
    assert decide("g0", workload(1, 1), num_released=2) == Scaling(0, 1)
    assert decide("g0", workload(9, 1), num_released=2) == Scaling(0, 2)
    # A group that is starting takes it.
    assert decide("g0 g1", workload(1, 1), num_released=1) == Scaling()


def test_new_nodes_are_used_before_there_is_work() -> None:
    assert decide("g0 g1", workload(num_leased=2), room=4) == Scaling(2)
    assert decide("g0", workload(num_leased=1), room=4, num_released=1) == Scaling(2)


def test_null_keeps_all_groups() -> None:
    idle = workload(g0=9999, g1=9999)
    kept = decide_scaling(["g0", "g1"], idle, room=2, num_released=0, release_after_s=None)
    assert kept == Scaling()
    assert GroupSpec.model_validate({"release_after_minutes": None}).release_after_minutes is None


@pytest.mark.parametrize("minutes", [0, -1])
def test_a_grace_of_nothing_is_refused(minutes: int) -> None:
    with pytest.raises((InputError, ValueError), match="greater than 0"):
        GroupSpec.model_validate({"release_after_minutes": minutes})


class Releases(RuleBasedStateMachine):
    """Groups and trials in any order: no trial is lost, and no group works after its release."""

    @initialize()
    def begin(self) -> None:
        self.book = LeaseBook(9)
        self.submitted = 0
        self.finished: set[str] = set()
        self.groups = {"g0": "waits", "g1": "waits"}
        for name in self.groups:
            self.book.enter(name)

    @rule()
    def submit(self) -> None:
        self.book.submit(Submission(trial_id=f"t{self.submitted}", spec="a"))
        self.submitted += 1

    @rule(name=st.sampled_from(["g0", "g1"]))
    def ask(self, name: str) -> None:
        if self.groups[name] not in ("waits", "told"):
            return
        answer = self.book.lease(name)
        if isinstance(answer, Released):
            assert self.groups[name] == "told"
            self.groups[name] = "gone"
        elif isinstance(answer, Lease):
            assert self.groups[name] == "waits"
            self.groups[name] = answer.trial_id

    @rule(name=st.sampled_from(["g0", "g1"]))
    def release(self, name: str) -> None:
        before = self.book.num_waiting
        if self.groups[name] == "gone":
            return
        if self.book.release(name):
            assert self.groups[name] in ("waits", "told")
            assert not before
            self.groups[name] = "told"

    @rule(name=st.sampled_from(["g0", "g1"]))
    def finish(self, name: str) -> None:
        if self.groups[name] not in ("waits", "told", "gone"):
            self.book.finish(name, {})
            self.finished.add(self.groups[name])
            self.groups[name] = "waits"

    @rule(name=st.sampled_from(["g0", "g1"]))
    def start(self, name: str) -> None:
        """Its processes are new: after a release, or because the old ones died."""
        self.book.enter(name)
        assert not self.book.is_released(name)
        self.groups[name] = "waits"

    @precondition(lambda self: hasattr(self, "book"))
    @invariant()
    def every_trial_waits_or_is_leased_or_is_finished(self) -> None:
        leased = len(self.book.groups())
        assert self.book.num_leased == leased
        assert self.book.num_waiting + leased + len(self.finished) == self.submitted


TestReleases = Releases.TestCase
