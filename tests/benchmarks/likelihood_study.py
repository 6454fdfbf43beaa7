"""Accuracy and likelihood of a sweep's adapters: which of them tells settings apart sooner.

``python -m tests.benchmarks.likelihood_study SWEEP STORAGE RECORDS`` scores every adapter of a
finished sweep that has a confirmation, and appends a line for each to ``RECORDS``; adapters that
have one are not scored again. ``test_likelihood_study.py`` makes the guide's table of them.

Each adapter is seen as a search sees it, on the validation examples, and on the confirmation's
examples, which stand for what a search wants to know. What the sweep itself has decoded is read
from its results.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata, spearmanr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from droplora_sweep.records.trial import TrialRecord

UNSEEN = "confirmation"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One adapter; accuracies are fractions, likelihoods bits per byte, both means of benchmarks.

    Attributes:
        trial: The trial's id.
        setting: Its settings, without the seed.
        is_complete: True where it was trained to its full length.
        accuracy: On the validation examples.
        bits_per_byte: Of their references.
        unseen_accuracy: On the confirmation's examples.
        unseen_bits_per_byte: Of their references.
        accuracy_s: Processor seconds of the validation examples' answers; None where the sweep's
            own were taken.
        likelihood_s: Processor seconds of their references.
    """

    trial: str
    setting: str
    is_complete: bool
    accuracy: float
    bits_per_byte: float
    unseen_accuracy: float
    unseen_bits_per_byte: float
    accuracy_s: float | None
    likelihood_s: float


def score_sweep(name: str, storage: Path, records: Path) -> Iterator[Scored]:
    """Score the adapters that the records lack, those of the confirmation first."""
    import torch

    from droplora_sweep.adapters.adapted import saved_adapter
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.models.loading import load_base_model, load_tokenizer
    from droplora_sweep.tasks.loading import load_task

    torch.set_num_threads(1)
    done = {one.trial for one in read_records(records)}
    record = Ledger.open(storage, name).record
    spec = record.confirm_trials[0].trial_spec
    task, tokenizer = load_task(spec.task), load_tokenizer(spec.model)
    base = load_base_model(spec.model, torch.device("cpu"))
    for trial in (*record.confirm_trials, *record.search_trials):
        if trial.adapter is None or trial.results is None or trial.trial_id in done:
            continue
        own = trial.trial_spec.evaluation.split
        seen: dict[str, tuple[float, float | None]] = {}
        with saved_adapter(base, trial.adapter) as model:
            for split in ("validation", UNSEEN):
                if split == own:
                    seen[split] = _recorded(trial), None
                else:
                    seen[split] = _accuracy(model, tokenizer, task, spec.evaluation, split)
            bits = {
                split: _bits(model, tokenizer, task, spec.evaluation.batch_size, split)
                for split in ("validation", UNSEEN)
            }
        yield Scored(
            trial=trial.trial_id,
            setting=json.dumps({**trial.params, "seed": None}, sort_keys=True),
            is_complete=trial.state == "COMPLETE",
            accuracy=seen["validation"][0],
            bits_per_byte=bits["validation"][0],
            unseen_accuracy=seen[UNSEEN][0],
            unseen_bits_per_byte=bits[UNSEEN][0],
            accuracy_s=seen["validation"][1],
            likelihood_s=bits["validation"][1],
        )


def _recorded(trial: TrialRecord) -> float:
    from droplora_sweep.ledger.files import read_scores

    assert trial.results is not None
    return _mean(read_scores(trial.results))


def _mean(scores: Mapping[str, Mapping[str, float | None]]) -> float:
    return fmean(
        fmean(one for one in examples.values() if one is not None) for examples in scores.values()
    )


def _accuracy(
    model: Any, tokenizer: Any, task: Any, spec: Any, split: Any
) -> tuple[float, float | None]:
    from droplora_sweep.evaluation.evaluator import evaluate
    from droplora_sweep.evaluation.results import score

    answers_only = spec.model_copy(update={"likelihood": False})
    start = time.process_time()
    results = evaluate(model, tokenizer, task, answers_only, split=split)
    return score(results)["mean"], time.process_time() - start


def _bits(
    model: Any, tokenizer: Any, task: Any, batch_size: int, split: Any
) -> tuple[float, float]:
    from droplora_sweep.evaluation.context import model_context
    from droplora_sweep.evaluation.generation import only_read
    from droplora_sweep.evaluation.likelihood import reference_likelihoods
    from droplora_sweep.evaluation.prompting import prompts_of
    from droplora_sweep.evaluation.results import bits_per_byte

    start = time.process_time()
    references = []
    with only_read(model):
        for benchmark in task.benchmarks:
            examples = benchmark.examples(split)
            found = reference_likelihoods(
                model,
                tokenizer,
                prompts_of(tokenizer, task).encode(
                    [(benchmark, one) for one in examples], "last_turn"
                ),
                [one.output for one in examples],
                context=model_context(model),
                batch_size=batch_size,
            )
            references += [
                (benchmark.name, example.digest, one.log_probability, one.num_bytes)
                for example, one in zip(examples, found, strict=True)
                if one is not None
            ]
    return bits_per_byte(references)["mean"], time.process_time() - start


def read_records(path: Path) -> list[Scored]:
    """The adapters so far."""
    if not path.exists():
        return []
    return [Scored(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Findings:
    """Power of one view of the validation examples to tell adapters apart.

    Attributes:
        correlation: Spearman's, with the accuracy on unseen examples, over all adapters.
        among_better: The same among the better two thirds by that accuracy.
        signal_to_noise: Variance between settings over the variance within them, over seeds.
        seconds: Median processor seconds of one adapter.
    """

    correlation: float
    among_better: float
    signal_to_noise: float
    seconds: float


def findings(records: Sequence[Scored], view: str) -> Findings:
    """Return what one view shows; ``view`` is ``accuracy`` or ``bits_per_byte``."""
    sign = 1 if view == "accuracy" else -1
    values = np.array([sign * getattr(one, view) for one in records])
    truths = np.array([one.unseen_accuracy for one in records])
    better = truths >= np.quantile(truths, 1 / 3)
    field = "accuracy_s" if view == "accuracy" else "likelihood_s"
    seconds = [spent for one in records if (spent := getattr(one, field)) is not None]
    return Findings(
        correlation=float(spearmanr(values, truths).statistic),
        among_better=float(spearmanr(values[better], truths[better]).statistic),
        signal_to_noise=signal_to_noise([one.setting for one in records], values),
        seconds=float(np.median(seconds)),
    )


def gain(records: Sequence[Scored]) -> tuple[float, float, float]:
    """Return how much more the likelihood correlates with unseen accuracy, with 95 % interval.

    The interval is of 2,000 bootstrap samples of adapters, by percentiles, with a fixed seed.
    """
    values = np.array([(one.accuracy, -one.bits_per_byte, one.unseen_accuracy) for one in records])

    def difference(rows: np.ndarray) -> float:
        ranks = rankdata(rows, axis=0)
        by_accuracy, by_likelihood = np.corrcoef(ranks, rowvar=False)[:2, 2]
        return float(by_likelihood - by_accuracy)

    generator = np.random.default_rng(0)
    drawn = generator.integers(len(values), size=(2_000, len(values)))
    low, high = np.quantile([difference(values[rows]) for rows in drawn], [0.025, 0.975])
    return difference(values), float(low), float(high)


def signal_to_noise(settings: Sequence[str], values: np.ndarray) -> float:
    """Return the variance of settings' true means over that of a seed, by one-way ANOVA.

    Of settings with several seeds alone; Searle et al., Variance Components, 1992, section 3.6:
    between = (MSA - MSE) / n0, at least 0.
    """
    names = np.array(settings)
    groups = [values[names == name] for name in dict.fromkeys(settings)]
    groups = [group for group in groups if len(group) > 1]
    sizes = np.array([len(group) for group in groups])
    total = np.concatenate(groups)
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    within /= len(total) - len(groups)
    between = sum(len(group) * (group.mean() - total.mean()) ** 2 for group in groups) / (
        len(groups) - 1
    )
    size = (len(total) - (sizes**2).sum() / len(total)) / (len(groups) - 1)
    return float(max(0.0, (between - within) / size) / within)


def main(arguments: list[str]) -> None:
    name, storage, path = arguments
    records = Path(path)
    for one in score_sweep(name, Path(storage), records):
        with records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(one)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
