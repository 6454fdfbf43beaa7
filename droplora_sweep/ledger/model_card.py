"""The README.md that goes with what a trial saves: an adapter, or a full model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import yaml

from droplora_sweep.spec import AdapterSpec, ModelSpec
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.metric_names import (
    PERPLEXITY_AFTER,
    PERPLEXITY_BEFORE,
    PERPLEXITY_RATIO,
    score_name,
    subject_of,
)

from .card_sections import BUILTIN, Form, loading_text, prompt_text, task_prompts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.records.trial import TrialRecord

_CARD = """\
---
{head}---

# {trial_id} of the sweep {sweep}

{what}

## Validation scores

{scores}

Scores of one training run with seed {seed}, on the split that the sweep selects on; responses were
read by the `{protocol}` protocol.{perplexity}

{test}## Settings

```yaml
{spec}```

Fingerprint: `{fingerprint}`

{data}{prompt}## Loading and generating

{loading}
{notes}"""


_BUILTIN_NOTE = """
`builtin` is the small Llama that comes with droplora-sweep, in its folder `models/builtin`; the
snippet finds it where droplora-sweep is installed.
"""

_QUANTIZED_NOTE = """
The base model was held in {bits} bits (bitsandbytes) while the adapter was trained and scored; in
{dtype} its scores differ a little.
"""

_MASKS = {
    "token": "mask per token",
    "sample": "mask per sequence",
    "step": "mask per step",
    "learned": "learned mask",
}


def model_card(
    trial: TrialRecord,
    sweep_name: str,
    metrics: Mapping[str, float],
    *,
    form: Form = Form.ADAPTER,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    data: Mapping[str, str] | None = None,
    test: Mapping[str, tuple[float, float, float]] | None = None,
) -> str:
    """Markdown with the metadata the Hugging Face Hub reads, settings, scores and how to load.

    Args:
        trial: The trained trial.
        sweep_name: Its sweep's.
        metrics: Metrics that the trial ended with.
        form: Kind of the files beside the card.
        intervals: 95 % interval of a score, by benchmark.
        data: Digest of each split, by ``<benchmark>/<split>``.
        test: Score on the test split with its 95 % interval, by benchmark; of winners alone.
    """
    spec = trial.spec
    adjusted = "".join(
        f"\nIt went on with `{path}: {value}` when it ran out of memory.\n"
        for path, value in trial.adjusted.items()
    )
    adjusted += _schedule(trial)
    adapter = AdapterSpec.model_validate(spec["adapter"])
    model = ModelSpec.model_validate(spec["model"])
    if not method_of(adapter.method).has_rank:
        form = Form.WHOLE
    return _CARD.format(
        head=yaml.safe_dump(_metadata(adapter, model, form), sort_keys=False),
        trial_id=trial.trial_id,
        sweep=sweep_name,
        what=_what(adapter, model, spec["task"]["benchmarks"], form),
        scores=_scores(metrics, intervals or {}),
        seed=spec["seed"],
        protocol=spec["evaluation"]["protocol"],
        perplexity=_perplexity(metrics),
        spec=yaml.safe_dump(dict(spec), sort_keys=False),
        fingerprint=trial.fingerprint,
        data=_data(data or {}),
        test=_test(test or {}),
        prompt=prompt_text(spec),
        loading=loading_text(form, model, task_prompts(spec)),
        notes=_notes(model) + adjusted,
    )


def _metadata(adapter: AdapterSpec, model: ModelSpec, form: Form) -> dict[str, Any]:
    tags = sorted({"lora", adapter.method, *(("droplora",) if adapter.is_pruned else ())})
    if form in (Form.WHOLE, Form.MERGED):
        return {
            "base_model": model.path,
            "base_model_relation": "finetune",
            "library_name": "transformers",
            "tags": ["full-fine-tuning"] if form is Form.WHOLE else tags,
        }
    return {
        "base_model": model.path,
        "library_name": "peft",
        "tags": tags,
        "pruning_rate": adapter.pruning_rate,
        "mask": adapter.mask,
    }


def _what(adapter: AdapterSpec, model: ModelSpec, benchmarks: list[str], form: Form) -> str:
    task = f"trained on {', '.join(benchmarks)}"
    if form is Form.WHOLE:
        return (
            f"{_method(adapter)} of `{model.path}`, {task}. Its files are those of a full model, "
            "not of an adapter."
        )
    if form is Form.MERGED:
        return (
            f"{_method(adapter)} of rank {adapter.rank}, {task}, and merged into the weights of "
            f"`{model.path}`. Its files are those of a full model in {model.dtype}; the update was "
            "added in float32."
        )
    if adapter.is_pruned and adapter.mask == "learned":
        inference = "what the mask drops is zero in its weights"
    else:
        inference = "nothing is pruned at inference"
    return (
        f"{_method(adapter)} of rank {adapter.rank} on `{model.path}`, {task}. Its files are those "
        f"of {method_of(adapter.method).saved_as}: {inference}."
    )


def _method(adapter: AdapterSpec) -> str:
    """The method as the literature writes it, and how it was pruned."""
    method = method_of(adapter.method)
    if not method.has_rank:
        return method.title
    if not adapter.is_pruned:
        return f"{method.title} (no pruning)"
    pruned = "DropLoRA" if method.is_lora else f"{method.title} with the mask of DropLoRA"
    modules = "".join(
        f", {rate:g} in {module}" for module, rate in adapter.module_pruning_rates.items()
    )
    schedule = adapter.pruning_schedule
    rise = "" if schedule == "constant" else f", {schedule} schedule"
    return (
        f"{pruned} (pruning rate {adapter.pruning_rate:g}{modules}{rise}, {_MASKS[adapter.mask]})"
    )


def _notes(model: ModelSpec) -> str:
    notes = _BUILTIN_NOTE if model.path == BUILTIN else ""
    if model.quantization != "none":
        bits = model.quantization.removesuffix("bit")
        notes += _QUANTIZED_NOTE.format(bits=bits, dtype=model.dtype)
    return notes


def _perplexity(metrics: Mapping[str, float]) -> str:
    """Perplexity before and after training, where a held-out text was read."""
    if PERPLEXITY_RATIO not in metrics:
        return ""
    before, after = metrics[PERPLEXITY_BEFORE], metrics[PERPLEXITY_AFTER]
    return (
        f"\nPerplexity of a held-out text: {before:.4g} before training and {after:.4g} after it."
    )


def _data(digests: Mapping[str, str]) -> str:
    """Digests of the examples: two trials of equal digests have read the same."""
    if not digests:
        return ""
    rows = "\n".join(f"| {name} | `{digest}` |" for name, digest in digests.items())
    return f"## Data\n\n| split | digest of its examples |\n|---|---|\n{rows}\n\n"


def _test(scores: Mapping[str, tuple[float, float, float]]) -> str:
    """Test scores of a winner, read after everything was decided."""
    if not scores:
        return ""
    rows = "".join(
        f"| {name} | {score:.4f} | {low:.4f} to {high:.4f} |\n"
        for name, (score, low, high) in scores.items()
    )
    head = "| benchmark | score | 95 % interval over examples |\n|---|---|---|\n"
    return f"## Test scores, read once and after the choice was made\n\n{head}{rows}\n"


def _scores(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    # A confirmation run is scored on examples of its own.
    of_splits = (score_name(""), score_name("", "confirmation"))
    scores = {name: value for name, value in metrics.items() if name.startswith(of_splits)}
    if not scores:
        return "None was reported."
    names = {name: subject_of(name) for name in sorted(scores)}
    if not intervals:
        rows = [f"| {short} | {scores[name]:.4f} |" for name, short in names.items()]
        return "\n".join(["| benchmark | score |", "|---|---|", *rows])
    rows = []
    for name, short in names.items():
        low, high = intervals.get(short, (math.nan, math.nan))
        shown = "" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        rows.append(f"| {short} | {scores[name]:.4f} | {shown} |")
    head = ["| benchmark | score | 95 % interval over examples |", "|---|---|---|"]
    return "\n".join([*head, *rows])


def _schedule(trial: TrialRecord) -> str:
    """Settings that a member of a population trained with after those above."""
    if not trial.schedule:
        return ""
    lines = [
        f"* from evaluation {step.evaluation}: weights and optimiser of {step.source}, "
        + ", ".join(f"`{path}: {value}`" for path, value in step.settings.items())
        for step in trial.schedule
    ]
    return (
        "\nIt was a member of a population (population-based training). The settings above are "
        "those that it began with; then, at the same step:\n\n" + "\n".join(lines) + "\n"
    )
