"""Exports of a trial's adapter: an adapter folder, a merged model, or files for GGUF."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.adapters.export import CONFIG_FILE, SETTINGS_FILE, WEIGHTS_FILE, json_file
from droplora_sweep.analysis.intervals import mean as mean_estimate
from droplora_sweep.analysis.intervals import mean_score
from droplora_sweep.errors import InputError
from droplora_sweep.files import disk_faults_named
from droplora_sweep.ledger.files import file_paths, plain_files, verify_adapter
from droplora_sweep.ledger.model_card import Form, model_card
from droplora_sweep.models.resolving import resolve_description
from droplora_sweep.publishing import publish_folder
from droplora_sweep.records.layout import MODEL_CARD
from droplora_sweep.spec import TrialSpec
from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from droplora_sweep.analysis.estimate import Estimate
    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.spec import ModelSpec
    from droplora_sweep.spec.methods import Method

    Files = dict[str, bytes | Callable[[Path], None]]
    Merge = Callable[[ModelSpec, Path, Path], None]

BASE = "base"
"""Folder of the base model's configuration and tokenizer, which the GGUF converter reads."""
BASE_FILES = ("*.json", "tokenizer.model", "*.jinja", "merges.txt", "vocab.txt")
INDEX_ENDING = ".safetensors.index.json"


class Format(StrEnum):
    """Form of an export."""

    ADAPTER = "adapter"
    MERGED = "merged"
    GGUF = "gguf"


def export(
    ledger: Ledger,
    trial: TrialRecord,
    output: Path,
    form: Format,
    merge: Merge | None = None,
) -> None:
    """Write a trial's adapter to a folder of its own, all of it or nothing.

    Args:
        ledger: The trial's sweep.
        trial: A trial with an adapter.
        output: The folder; must not exist.
        form: Form of the export.
        merge: Writes the merged model; None writes it in this process.

    Raises:
        InputError: The folder exists, or the trial's method has no such form.
        SweepError: The adapter's files are damaged, or the folder cannot be written.
    """
    if output.exists():
        raise InputError.of("--output", f"must be new, got {output}, which exists")
    refuse_without_form(trial, form)
    assert trial.adapter is not None, "find_trial gives trials with an adapter"
    verify_adapter(trial.adapter, trial.adapter_digest)
    card = _card(ledger, trial, form)
    with disk_faults_named(output), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        # A whole model may be larger than the memory.
        files: Files = {name: _copying(path) for name, path in file_paths(trial.adapter).items()}
        if form is Format.GGUF:
            files = {**_for_gguf(plain_files(trial.adapter)), **_base_files(trial)}
        elif form is Format.MERGED and _method(trial).has_rank:
            files = _merged(trial, Path(scratch), merge)
        publish_folder(output.resolve(), {**files, MODEL_CARD: card.encode()})


def refuse_without_form(trial: TrialRecord, form: Format) -> None:
    """Refuse a form that the trial's method does not have.

    Raises:
        InputError: With the reason.
    """
    method = _method(trial)
    if not method.has_rank and form is not Format.MERGED:
        problem = f"must be merged for {trial.trial_id}, a whole model without adapter, got {form}"
        raise InputError.of("--format", problem)
    if form is Format.GGUF and (layers := _of_embeddings(trial)):
        problem = (
            f"must be adapter or merged for {trial.trial_id}: llama.cpp's converter takes no "
            f"adapter of {', '.join(layers)}, got gguf"
        )
        raise InputError.of("--format", problem)
    if form is Format.GGUF and trial.trial_spec.adapter.modules_to_save:
        problem = (
            f"must be adapter or merged for {trial.trial_id}: GGUF adapters hold A and B alone, "
            "not the whole modules of `adapter.modules_to_save`, got gguf"
        )
        raise InputError.of("--format", problem)
    if method.extra_tensors and form is Format.GGUF:
        problem = (
            f"must be adapter or merged for {trial.trial_id}: GGUF adapters hold A and B alone, "
            f"not {method.extra_tensors}, got gguf"
        )
        raise InputError.of("--format", problem)


def estimates(scores: Scores | None) -> dict[str, Estimate]:
    """Return a trial's scores by benchmark and their mean, with 95 % intervals over examples."""
    found = {}
    for benchmark, by_example in (scores or {}).items():
        known = [score for score in by_example.values() if score is not None]
        if known:
            found[benchmark] = mean_score(known)
    return {**found, "mean": mean_estimate(list(found.values()))} if found else {}


def _card(ledger: Ledger, trial: TrialRecord, form: Format) -> str:
    record = ledger.record
    validation = estimates(ledger.scores(trial.trial_id))
    test = estimates(ledger.test_scores(trial.trial_id))
    return model_card(
        trial,
        record.name,
        trial.metrics,
        form=Form(form.value),
        intervals={name: (one.low, one.high) for name, one in validation.items()},
        data=record.data_digests,
        test={name: (one.value, one.low, one.high) for name, one in test.items()},
        fidelity=record.fidelity_of(trial),
    )


def _method(trial: TrialRecord) -> Method:
    return method_of(trial.spec["adapter"]["method"])


def _of_embeddings(trial: TrialRecord) -> list[str]:
    """Return the layers whose own weight PEFT saves with the adapter: embeddings, output layers."""
    from safetensors import safe_open

    if trial.adapter is None or not _method(trial).has_rank:
        return []
    with safe_open(trial.adapter / WEIGHTS_FILE, framework="numpy") as weights:
        names = [name.removeprefix("base_model.model.") for name in sorted(weights.keys())]
    ending = ".base_layer.weight"
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))


def _for_gguf(files: Mapping[str, bytes]) -> Files:
    """Return weights and configuration with llama.cpp's scaling, alpha / rank of every layer.

    rsLoRA's alpha / sqrt(rank) is written as the alpha that gives the same. llama.cpp reads one
    alpha and each layer's own rank; what a layer's scaling differs by goes into its B.
    """
    config: dict[str, Any] = json.loads(files[CONFIG_FILE])
    weights = files[WEIGHTS_FILE]
    common = config["lora_alpha"]
    if config.get("use_rslora"):
        common = config["lora_alpha"] * math.sqrt(config["r"])
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        from droplora_sweep.adapters.compression import with_scaling

        weights = with_scaling(weights, config, common)
    config |= {"lora_alpha": common, "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}}
    return {
        CONFIG_FILE: json_file(config),
        WEIGHTS_FILE: weights,
        SETTINGS_FILE: files[SETTINGS_FILE],
    }


def _base_files(trial: TrialRecord) -> Files:
    """Return the base model's configuration and tokenizer, without its weights."""
    folder = resolve_description(TrialSpec.model_validate(dict(trial.spec)).model)
    return {
        f"{BASE}/{path.name}": path.read_bytes()
        for pattern in BASE_FILES
        for path in sorted(folder.glob(pattern))
        if path.is_file() and not path.name.endswith(INDEX_ENDING)
    }


def _merged(trial: TrialRecord, scratch: Path, merge: Merge | None) -> Files:
    """Write the base model with the update added to its weights, and return its files."""
    assert trial.adapter is not None, "find_trial gives trials with an adapter"
    (merge or _merge_here)(trial.trial_spec.model, trial.adapter, scratch)
    return _moved(scratch.iterdir())


def _copying(source: Path) -> Callable[[Path], None]:
    """Return what copies a file's content to a path, and no permissions."""

    def copy(target: Path) -> None:
        shutil.copyfile(source, target)

    return copy


def _merge_here(model: ModelSpec, adapter: Path, folder: Path) -> None:
    from droplora_sweep.training.merging import write_merged

    write_merged(model, adapter, folder)


def _moved(paths: Iterable[Path]) -> Files:
    return {path.name: partial(_move, path) for path in sorted(paths)}


def _move(source: Path, target: Path) -> None:
    shutil.move(source, target)
