"""Expected scores of the settings that a search tried, by a model over all its trials.

The best of many trials is partly the luckiest. A model (`surrogate`) weighs a trial against its
neighbours: a score that they do not support counts for less. It knows the noise of the examples,
and is fitted for each benchmark, and for their mean, alone. A trial is seen by its scores, or by
how likely it finds the references, of which each example tells more than right or wrong.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from droplora_sweep.analysis.evidence import benchmarks, has_rank, parts_of
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.metric_names import likelihood_name, score_name, search_value
from droplora_sweep.surrogate.chances import chances_to_be_best
from droplora_sweep.surrogate.coordinates import coordinates_of
from droplora_sweep.surrogate.observed import ObservedTrial, observations
from droplora_sweep.surrogate.process import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.spec import Parameter, Scalar
    from droplora_sweep.surrogate.process import Posterior

CLEAR = 9
"""Decimals of an expected score that count: the others are rounding."""


class SubjectPosterior:
    """Expected scores of trials' settings on one benchmark, or on the mean.

    Args:
        posterior: Of the expected score.
        settings: Raw values of the complete trials, by trial id.
    """

    def __init__(self, posterior: Posterior, settings: Mapping[str, Mapping[str, Scalar]]) -> None:
        self._posterior = posterior
        self._settings = settings

    @cached_property
    def means(self) -> dict[str, float]:
        """Expected score of each complete trial's setting, a fraction, by trial id."""
        means, _ = self._posterior(list(self._settings.values()))
        return dict(zip(self._settings, np.round(means, CLEAR).tolist(), strict=True))

    def chances(self, trial_ids: Sequence[str]) -> list[float]:
        """Return the chance of each of these trials' settings to be the best of them."""
        settings = [self._settings[one] for one in trial_ids]
        found: list[float] = chances_to_be_best(self._posterior, settings).tolist()
        return found


class SearchPosterior:
    """The model of a search, fitted where it is asked for.

    Args:
        records: The trials of the search stage whose scores may be compared.
        parameters: What was searched.
        scores: Gives a trial's score on each example by its id; None where it has none.
        likelihoods: Gives likewise how likely it finds each reference (see ``read_likelihoods``);
            trials are then seen by these on every benchmark that has references. None: by scores.
    """

    def __init__(
        self,
        records: Sequence[TrialRecord],
        parameters: Mapping[str, Parameter],
        scores: Callable[[str], Scores | None],
        likelihoods: Callable[[str], Scores | None] | None = None,
    ) -> None:
        self._records = [one for one in records if has_rank(one) and one.is_finished and one.drawn]
        self._names = benchmarks(records)
        self._coordinates = coordinates_of(parameters)
        self._scored = _View(score_name, scores)
        self._referenced = likelihoods and _View(likelihood_name, likelihoods)
        self._found: dict[str, SubjectPosterior | None] = {}

    def of(self, subject: str) -> SubjectPosterior | None:
        """Return the posterior on a benchmark, or on the mean.

        Returns:
            None where it cannot be fitted: too few trials, equal scores, or a complete trial
            without its score on each example.
        """
        if subject not in self._found:
            self._found[subject] = self._fitted(parts_of(subject, self._names))
        return self._found[subject]

    def _fitted(self, parts: Sequence[str]) -> SubjectPosterior | None:
        view = self._scored
        if self._referenced and (known := self._referenced.known(parts, self._records)):
            view, parts = self._referenced, known
        seen = {one.trial_id: view.observed(one, parts) for one in self._records}
        complete = {name: one.drawn for name, one in seen.items() if one.is_complete and one.scores}
        if any(seen[name].outcomes is None for name in complete):
            return None
        posterior = fit(self._coordinates, observations(list(seen.values()), parts))
        return None if posterior is None else SubjectPosterior(posterior, complete)


class _View:
    """Metric that trials are seen by, with what its examples add.

    Args:
        metric: Name of a benchmark's metric.
        examples: Gives what that is the mean of, by a trial's id.
    """

    def __init__(
        self, metric: Callable[[str], str], examples: Callable[[str], Scores | None]
    ) -> None:
        self._metric = metric
        self._examples = cache(examples)

    def known(self, parts: Sequence[str], records: Sequence[TrialRecord]) -> list[str]:
        """Return the benchmarks of which any trial has it."""
        seen = [self._examples(one.trial_id) or {} for one in records]
        return [part for part in parts if any(part in one for one in seen)]

    def observed(self, record: TrialRecord, parts: Sequence[str]) -> ObservedTrial:
        """Return a trial as the model sees it, in the mean over benchmarks."""

        def value(metrics: Mapping[str, float]) -> float:
            return float(np.mean([search_value(self._metric(part), metrics) for part in parts]))

        values = {one.number: value(one.metrics) for one in record.evaluations}
        if record.state is TrialState.COMPLETE:
            # The last metrics may be newer than the last evaluation's.
            values[max(values, default=1)] = value(record.metrics)
        has_failed = record.state is TrialState.FAILED
        finite = {number: one for number, one in values.items() if np.isfinite(one)}
        is_complete = record.state is TrialState.COMPLETE and max(values, default=0) in finite
        return ObservedTrial(
            drawn=record.drawn,
            scores={} if has_failed else finite,
            is_complete=is_complete,
            outcomes=self._outcomes(record.trial_id, parts),
        )

    def _outcomes(
        self, trial_id: str, parts: Sequence[str]
    ) -> dict[str, list[float | None]] | None:
        found = self._examples(trial_id)
        if found is None or any(part not in found for part in parts):
            return None
        return {part: [found[part][one] for one in sorted(found[part])] for part in parts}
