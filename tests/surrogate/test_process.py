"""The model of a score, against other ways to know what it says."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from droplora_sweep.spec import SweepSpec
from droplora_sweep.surrogate.chances import chances_to_be_best
from droplora_sweep.surrogate.coordinates import Coordinate, coordinates_of, places
from droplora_sweep.surrogate.kernel import CONSTANT, Gaps, Hyperparameters
from droplora_sweep.surrogate.process import MOST_TRIALS, Observations, Posterior, fit

RATE, LR, METHOD, MASK = (
    "adapter.pruning_rate",
    "training.learning_rate",
    "adapter.method",
    "adapter.mask",
)
SPACE = {
    RATE: {"min": 0.0, "max": 0.8, "step": 0.2},
    LR: {"min": 1e-4, "max": 1e-2, "scale": "log"},
    METHOD: {"values": ["lora", "dora", "full"]},
    MASK: {"values": ["token", "step"], "when": {METHOD: ["lora", "dora"]}},
}


def coordinates(space: dict[str, Any]) -> tuple[Coordinate, ...]:
    sweep = SweepSpec.model_validate({"name": "s", "search": {"parameters": space}})
    return coordinates_of(sweep.search.parameters)


def test_a_list_of_modules_is_a_category() -> None:
    path = "adapter.target_modules"
    [targets] = coordinates({path: {"values": [["q_proj", "v_proj"], "all-linear"]}})
    assert targets.is_category
    assert [targets.at(value) for value in ("q_proj, v_proj", "all-linear")] == [0, 1]


def drawn(generator: Any, num: int) -> list[dict[str, Any]]:
    found = []
    for _ in range(num):
        values = {
            RATE: 0.2 * int(generator.integers(5)),
            LR: 10 ** generator.uniform(-4, -2),
            METHOD: ["lora", "dora", "full"][int(generator.integers(3))],
        }
        if values[METHOD] != "full":
            values[MASK] = ["token", "step"][int(generator.integers(2))]
        found.append(values)
    return found


def test_each_parameter_counts_on_its_own_scale() -> None:
    space = {
        RATE: {"values": [0.0, 0.1, 0.5]},
        LR: {"min": 1e-4, "max": 1e-2, "scale": "log"},
        "adapter.rank": {"min": 2, "max": 32},
        "training.weight_decay": {"min": 0.0, "max": 0.4},
        "training.epochs": {"values": [1, 2, 4]},
        METHOD: {"values": ["lora", "dora"]},
    }
    values = {
        RATE: 0.1,
        LR: 1e-3,
        "adapter.rank": 8,
        "training.weight_decay": 0.1,
        "training.epochs": 2,
        METHOD: "dora",
    }
    [row] = places(coordinates(space), [values])
    assert row == pytest.approx([0.2, 0.5, 0.5, 0.25, 0.5, 1.0])
    [none] = places(coordinates(space), [{RATE: 0.5}])
    assert none[0] == 1
    assert np.isnan(none[1:]).all()


def test_the_covariance_is_one_and_its_slopes_are_its_own() -> None:
    space = coordinates(SPACE)
    found = places(space, drawn(np.random.default_rng(0), 12))
    gaps = Gaps(space, found, found)
    logs = np.log([0.5, 0.7, 0.4, 0.6, 0.3, 0.8, 0.4, 0.6, 0.1])
    covariance, slopes = gaps.gradients(Hyperparameters.of(logs))
    assert covariance == pytest.approx(gaps.covariance(Hyperparameters.of(logs)))
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    for index, slope in enumerate(slopes):
        step = np.zeros(len(logs))
        step[index] = 1e-5
        above, below = (gaps.covariance(Hyperparameters.of(logs + s)) for s in (step, -step))
        assert slope == pytest.approx((above - below) / 2e-5, abs=1e-8)


def test_a_method_has_a_curve_of_its_own_over_the_rate() -> None:
    """Of different methods, only what the rate does to all of them is shared."""
    space = coordinates({name: SPACE[name] for name in (RATE, METHOD)})
    settings = [{RATE: rate, METHOD: name} for rate, name in ((0.2, "lora"), (0.6, "lora"))]
    found = places(space, [*settings, {RATE: 0.6, METHOD: "dora"}])
    values = Hyperparameters(np.array([0.6, 0.9]), 0.5, 0.8, 0.4, 0.7, 0.3)
    [own, same, other] = Gaps(space, found, found).covariance(values)[1][[1, 0, 2]]
    gap = math.sqrt(5) * 0.5 / 0.4
    matern = (1 + gap + gap**2 / 3) * math.exp(-gap)
    assert own == pytest.approx(CONSTANT**2 + 0.6**2 + 0.9**2 + 0.8**2)
    assert same == pytest.approx(CONSTANT**2 + 0.9**2 + (0.6**2 + 0.8**2) * matern)
    assert other == pytest.approx(CONSTANT**2 + 0.6**2)


def test_the_posterior_is_that_of_another_library() -> None:
    """scikit-learn's process with its own Matern functions, one for each column, and their product.

    Its `alpha` is the noise of each observation, and nothing is optimised.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Kernel, Matern

    class Additive(Kernel):
        def __init__(self, amplitudes: Any, interaction: Any, lengths: Any) -> None:
            self.amplitudes, self.interaction, self.lengths = amplitudes, interaction, lengths

        def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
            Y = X if Y is None else Y
            factors = [
                Matern(length, nu=2.5)(X[:, [i]], Y[:, [i]])
                for i, length in enumerate(self.lengths)
            ]
            own = sum(a**2 * f for a, f in zip(self.amplitudes, factors, strict=True))
            return CONSTANT**2 + own + self.interaction**2 * factors[0] * factors[1]

        def diag(self, X: Any) -> Any:
            return np.diag(self(X))

        def is_stationary(self) -> bool:
            return True

    space = coordinates({name: SPACE[name] for name in (RATE, LR)})
    generator = np.random.default_rng(1)
    settings = [{k: v for k, v in one.items() if k in (RATE, LR)} for one in drawn(generator, 20)]
    scores = 0.6 + 0.02 * generator.standard_normal(20)
    variances = generator.uniform(1e-5, 1e-4, 20)
    values = Hyperparameters(np.array([0.6, 0.9]), 0.5, 0.9, 0.4, 0.7, 0.3)
    unit, level = 0.02, 0.61
    ours = Posterior(
        space, Observations(settings, scores, variances), values, level=level, unit=unit
    )
    theirs = GaussianProcessRegressor(
        Additive((0.6, 0.9), 0.5, (0.4, 0.7)), alpha=variances / unit**2 + 0.3**2, optimizer=None
    ).fit(places(space, settings), (scores - level) / unit)
    others = [{k: v for k, v in one.items() if k in (RATE, LR)} for one in drawn(generator, 9)]
    mean, covariance = ours(others)
    their_mean, their_covariance = theirs.predict(places(space, others), return_cov=True)
    assert mean == pytest.approx(level + unit * their_mean)
    assert covariance == pytest.approx(unit**2 * their_covariance, abs=1e-12)


def test_the_chance_of_two_settings_is_that_of_a_normal_difference() -> None:
    generator = np.random.default_rng(2)
    settings = drawn(generator, 12)
    scores = 0.6 + 0.02 * generator.standard_normal(12)
    posterior = fit(coordinates(SPACE), Observations(settings, scores, np.full(12, 1e-4)))
    assert posterior is not None
    mean, covariance = posterior(settings[:2])
    spread = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    first, second = chances_to_be_best(posterior, settings[:2])
    assert first == pytest.approx(norm.cdf((mean[0] - mean[1]) / spread), abs=0.025)
    assert first + second == pytest.approx(1)


def quadratic(generator: Any, num: int, noise: float) -> tuple[list[dict[str, Any]], Any, Any]:
    settings = drawn(generator, num)
    truth = np.array(
        [0.6 - 0.1 * (s[RATE] - 0.4) ** 2 - 0.02 * (math.log10(s[LR]) + 3) ** 2 for s in settings]
    )
    return settings, truth, truth + noise * generator.standard_normal(num)


def test_it_is_nearer_to_the_truth_than_the_scores_are_and_knows_how_near() -> None:
    errors, observed, inside = [], [], []
    for seed in range(12):
        settings, truth, scores = quadratic(np.random.default_rng(seed), 24, 0.012)
        posterior = fit(coordinates(SPACE), Observations(settings, scores, np.full(24, 1e-4)))
        assert posterior is not None
        mean, covariance = posterior(settings)
        # Levels are shared by all settings: what matters is how they differ.
        away = (mean - mean.mean()) - (truth - truth.mean())
        centred = np.eye(24) - 1 / 24
        spread = np.sqrt(np.diag(centred @ covariance @ centred))
        errors.append(np.sqrt(np.mean(away**2)))
        observed.append(np.std(scores - truth))
        inside.append(np.mean(np.abs(away) < 1.96 * spread))
    assert np.mean(errors) < 0.7 * np.mean(observed)
    assert np.mean(inside) > 0.9


def test_what_is_known_of_the_noise_counts() -> None:
    settings, _, scores = quadratic(np.random.default_rng(3), 12, 0.0)
    scores[0] += 0.05
    expected = []
    for variance in (1e-6, 1e-2):
        variances = np.full(12, 1e-6)
        variances[0] = variance
        posterior = fit(coordinates(SPACE), Observations(settings, scores, variances))
        assert posterior is not None
        expected.append(posterior(settings[:1])[0][0])
    assert expected[1] < expected[0] - 0.01


def test_a_collapse_does_not_hide_what_the_others_say() -> None:
    settings, truth, scores = quadratic(np.random.default_rng(4), 24, 0.004)
    collapsed = scores.copy()
    collapsed[np.argsort(truth)[:3]] = 0.02
    order = []
    for given in (scores, collapsed):
        posterior = fit(coordinates(SPACE), Observations(settings, given, np.full(24, 1e-5)))
        assert posterior is not None
        mean, _ = posterior(settings)
        order.append(mean[np.argsort(-truth)[:12]])
    assert np.corrcoef(*order)[0, 1] > 0.8


def test_there_is_no_fit_of_too_few_trials_or_of_equal_scores() -> None:
    settings = drawn(np.random.default_rng(5), 6)
    space, scores = coordinates(SPACE), np.linspace(0.5, 0.6, 6)
    assert fit(space, Observations(settings, scores, np.zeros(6))) is not None
    assert fit(space, Observations(settings[:5], scores[:5], np.zeros(5))) is None
    assert fit(space, Observations(settings, np.full(6, 0.5), np.zeros(6))) is None


def test_trials_under_way_narrow_doubts_and_move_nothing() -> None:
    settings, _, scores = quadratic(np.random.default_rng(6), 12, 0.01)
    posterior = fit(coordinates(SPACE), Observations(settings, scores, np.full(12, 1e-4)))
    assert posterior is not None
    running = [{RATE: 0.8, LR: 1e-2, METHOD: "dora", MASK: "step"}]
    mean, covariance = posterior(running)
    believed, narrowed = posterior.with_fantasies(running)(running)
    assert believed == pytest.approx(mean, abs=1e-6)
    assert narrowed[0, 0] < 0.9 * covariance[0, 0]


def test_the_work_is_bounded_and_the_best_are_kept() -> None:
    settings, _, scores = quadratic(np.random.default_rng(7), 500, 0.01)
    kept = Observations(settings, scores, np.full(500, 1e-4)).bounded()
    assert len(kept) == MOST_TRIALS
    assert set(np.sort(scores)[-MOST_TRIALS // 2 :]) <= set(kept.scores)
    assert kept.scores[-1] == scores[-1]
    start = time.process_time()
    assert fit(coordinates(SPACE), Observations(settings, scores, np.full(500, 1e-4)))
    assert time.process_time() - start < 5
