"""The sampler ``decide``: trials where the best pruning rate is still open.

First the trials are spread: the rate with the fewest comes next, with the categories (a method, for
example) that were tried least with it, and other values from a Sobol sequence. Once every rate has
one, and there are `num_spread`, each further trial serves the question which rate is best, by
top-two Thompson sampling (Russo, Simple Bayesian Algorithms for Best Arm Identification, COLT
2016): a draw of the posterior names the rate that is best in it, each rate at its own best other
values; a second one names the best that differs. One of the two gets the trial, or p = 0, to which
the difference is what is asked for. Its categories are those of its best setting in the first draw,
so that a method on which the best rate depends is tried as often as it may be the best; its numbers
are where hope is highest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from droplora_sweep.spec import all_settings, grid_size, trial_limit
from droplora_sweep.spec.search import RATE
from droplora_sweep.surrogate.coordinates import coordinates_of
from droplora_sweep.surrogate.observed import observations
from droplora_sweep.surrogate.process import fit

from .candidates import Candidates
from .contenders import contender_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from droplora_sweep.spec import DecideSpec, Scalar, SweepSpec
    from droplora_sweep.surrogate.coordinates import Array, Coordinate
    from droplora_sweep.surrogate.observed import ObservedTrial
    from droplora_sweep.surrogate.process import Posterior

    from .contenders import Contender

    Setting = dict[str, Scalar]

NUM_BEST = 3
"""Settings of the best scores, near which there are candidates."""
NUM_DRAWS = 64
"""Draws of the posterior, in which the second contender is looked for."""
HOPE = 1.0
"""Standard deviations above the expected score by which a setting is judged inside its rate (upper
confidence bound; Srinivas et al., arXiv 0912.3995). In `tests/search/search_worlds.py` it found
better settings than the setting that is best in the draw."""
TRIALS_OF_VALUE = 4
"""Trials with each value of a category that are spread over the rates, if that takes no more than
half of the search: with fewer a method's own best rate is seldom seen, and the model then leaves
it alone (`tests/search/search_worlds.py`, "methods differ")."""
MOST_FAILURES = 3
"""A rate of which this many trials failed does not have to be tried before the others go on."""


@dataclass(frozen=True, kw_only=True)
class SearchState:
    """The trials that a draw depends on, beside the seed and its number.

    Attributes:
        finished: Trials that ended, also without a score, in the order of their numbers.
        running: Raw values of those under way.
        prior: Trials of an earlier sweep.
    """

    finished: Sequence[ObservedTrial] = ()
    running: Sequence[Mapping[str, Scalar]] = ()
    prior: Sequence[ObservedTrial] = ()


def next_setting(
    sweep: SweepSpec,
    state: SearchState,
    *,
    sampler: DecideSpec,
    num_drawn: int,
    parts: Sequence[str],
    is_known: Callable[[Setting], bool],
) -> Setting | None:
    """Return raw values of the next trial.

    Args:
        sweep: The space, the number of trials and the seed.
        state: The trials so far.
        sampler: The sampler's options.
        num_drawn: Trials drawn before.
        parts: The benchmarks that the search's metric is the unweighted mean of.
        is_known: Returns True for a setting that was run or is running.

    Returns:
        None where no setting is left that was not run.
    """
    generator = np.random.default_rng([sweep.seed, num_drawn])
    candidates = Candidates(sweep, generator)
    coordinates = coordinates_of(sweep.search.parameters)
    scored = observations([*state.prior, *state.finished], parts)
    posterior = None
    if len(scored) >= num_spread(sweep, coordinates) and _are_tried(candidates.contenders, state):
        posterior = fit(coordinates, scored)
    ranked: Iterable[Setting]
    categories = [one.path for one in coordinates if one.is_category]
    if posterior is None:
        ranked = _spread(candidates, state, num_drawn, categories)
    else:
        best = np.argsort(-scored.scores, kind="stable")[:NUM_BEST]
        near = [scored.settings[index] for index in best]
        posterior = posterior.with_fantasies(state.running)
        ranked = _most_telling(
            candidates, posterior, near, categories, sampler.baseline_share, generator
        )
    rest = () if grid_size(sweep) is None else all_settings(sweep)
    return next((one for one in chain(ranked, rest) if not is_known(one)), None)


def num_spread(sweep: SweepSpec, coordinates: Sequence[Coordinate]) -> int:
    """Return the number of scored trials from which on the model is used."""
    most_values = max((len(one.values) for one in coordinates), default=0)
    limit = trial_limit(sweep)
    wanted = TRIALS_OF_VALUE * most_values
    if limit is not None:
        wanted = min(wanted, limit // 2)
    return max(sweep.search.num_startup_trials, wanted)


def _are_tried(contenders: Sequence[Contender], state: SearchState) -> bool:
    """Return whether each has a trial, under way or scored, or has failed often enough."""
    scored = [one.drawn for one in state.finished if one.scores]
    failed = [one.drawn for one in state.finished if not one.scores]
    tried = _counts(contenders, [*scored, *state.running])
    failures = _counts(contenders, failed)
    return all(tried[one] or failures[one] >= MOST_FAILURES for one in contenders)


def _counts(
    contenders: Sequence[Contender], drawn: Sequence[Mapping[str, Scalar]]
) -> Counter[Contender]:
    return Counter(contender_of(values.get(RATE), contenders) for values in drawn)


def _spread(
    candidates: Candidates, state: SearchState, num_drawn: int, categories: Sequence[str]
) -> Iterator[Setting]:
    """Settings of the least tried contender first; of equal ones, the farthest from those tried.

    Of a contender's, those first whose categories were tried least with it, then with any.
    """
    contenders = candidates.contenders
    drawn = [*(one.drawn for one in state.finished), *state.running]
    tried = _counts(contenders, drawn)
    seen = Counter(
        (owner, path, values.get(path))
        for values in drawn
        for owner in (contender_of(values.get(RATE), contenders), None)
        for path in categories
    )

    def rank(one: Contender) -> tuple[int, float, float]:
        gaps = [abs(one.middle - other.middle) for other in tried if tried[other] > tried[one]]
        return tried[one], -min(gaps, default=0.0), one.low

    def repeats(owner: Contender, values: Setting) -> tuple[int, ...]:
        return tuple(
            sum(seen[one, path, values.get(path)] for path in categories) for one in (owner, None)
        )

    points = list(candidates.sequence(num_drawn))
    for contender in sorted(contenders, key=rank):
        found = candidates.settings(contender, points)
        yield from sorted(found, key=partial(repeats, contender))


def _most_telling(
    candidates: Candidates,
    posterior: Posterior,
    best: Sequence[Mapping[str, Scalar]],
    categories: Sequence[str],
    baseline_share: float,
    generator: np.random.Generator,
) -> Iterator[Setting]:
    """Settings of the contender that gets the trial, the most promising first; then all others."""
    points = list(candidates.sequence(int(generator.integers(1 << 16))))
    for values in best:
        points += candidates.near(values)
    settings: list[Setting] = []
    owners: list[Contender] = []
    for contender in candidates.contenders:
        found = candidates.settings(contender, points)
        settings += found
        owners += [contender] * len(found)
    contenders = [one for one in candidates.contenders if one in owners]
    is_of_CS = np.array([[owner is one for owner in owners] for one in contenders])
    mean_S, drawn_DS = posterior.draws(settings, NUM_DRAWS, int(generator.integers(1 << 31)))
    leader, rival = top_two(mean_S, drawn_DS, is_of_CS)
    share = float(generator.random())
    chosen = leader if share < (1 + baseline_share) / 2 else rival
    zero = [index for index, one in enumerate(contenders) if one.high == 0]
    if zero and share < baseline_share:
        [chosen] = zero
    hope_S = mean_S + HOPE * drawn_DS.std(axis=0)
    is_chosen_S = is_of_CS[chosen]
    drawn_best = settings[int(np.where(is_chosen_S, drawn_DS[0], -np.inf).argmax())]
    is_alike_S = [
        all(one.get(path) == drawn_best.get(path) for path in categories) for one in settings
    ]
    for index in np.lexsort((-hope_S, np.logical_not(is_alike_S), ~is_chosen_S)):
        yield settings[int(index)]


def top_two(mean_S: Array, drawn_DS: Array, is_of_CS: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the best contender of the first draw, and of the first draw in which it is another.

    A contender is as good in a draw as its best setting. Where the same one is best in all draws,
    the second is the one with the next best expectation.

    Args:
        mean_S: Expected score of each setting.
        drawn_DS: Draws of them.
        is_of_CS: True where a setting is of a contender.
    """
    winners_D = np.where(is_of_CS, drawn_DS[:, None, :], -np.inf).max(axis=2).argmax(axis=1)
    leader = int(winners_D[0])
    others = winners_D[winners_D != leader]
    if len(others):
        return leader, int(others[0])
    expected_C = np.where(is_of_CS, mean_S, -np.inf).max(axis=1)
    expected_C[leader] = -np.inf
    return leader, int(expected_C.argmax())
