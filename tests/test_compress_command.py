"""`droplora-sweep compress`: the rank/score curve of a trial's adapter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load

from droplora_sweep.evaluation.encoding import encode_pairs
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.results import score
from droplora_sweep.evaluation.sequences import collate
from droplora_sweep.export.compression import MARGIN, RankPoint, lowest_kept
from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.records.trial import TrialState, trial_id
from droplora_sweep.spec import TrialSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.loop import response_loss
from droplora_sweep.training.trainable import trainable
from tests.recording import planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.evaluation.results import ExampleResult

RANK = 6
NUM_STEPS = 30
BATCH_SIZE = 24
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Call = "Callable[..., tuple[int, str, str]]"


def make_files(spec: TrialSpec, folder: Path) -> tuple[dict[str, bytes], list[ExampleResult]]:
    """An adapter after some seconds of training, as PEFT saves it, and its validation results."""
    torch.manual_seed(0)
    task, tokenizer = load_task(spec.task), load_tokenizer(spec.model)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.adapter.rank,
        lora_alpha=spec.adapter.alpha,
        target_modules=list(spec.adapter.target_modules),
    )
    adapted = get_peft_model(load_base_model(spec.model), config)
    pairs = [
        (source.render_prompt(example), example.output)
        for source, example in task.training_examples()
    ]
    sequences = trainable(
        encode_pairs(tokenizer, pairs), spec.training.max_sequence_tokens
    ).sequences
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.01)
    for step in range(NUM_STEPS):
        some = [
            sequences[(BATCH_SIZE * step + index) % len(sequences)] for index in range(BATCH_SIZE)
        ]
        batch = collate(some, tokenizer.pad_token_id, torch.device("cpu"))
        logits = adapted(input_ids=batch.inputs, logits_to_keep=batch.kept).logits
        (response_loss(logits, batch.labels) / BATCH_SIZE).backward()
        optimizer.step()
        optimizer.zero_grad()
    adapted.save_pretrained(folder)
    results = evaluate(adapted, tokenizer, task, spec.evaluation)
    return {path.name: path.read_bytes() for path in folder.iterdir()}, results


@pytest.fixture(scope="module")
def sweep(
    small_sweep: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> LedgerWriter:
    """Trials 0 complete, 1 running, 2 failed, 3 of DoRA, 4 a whole model, 5 logged another score.

    Trial 11 is a second one that t001 could be the start of, if it were not a trial's number.
    """
    folder = tmp_path_factory.mktemp("compress")
    spec = small_sweep(
        adapter={"rank": RANK, "alpha": 12},
        task={"benchmarks": ["builtin_choice"], "num_train": 512, "num_validation": 32},
    )
    files, results = make_files(spec.trial, folder / "adapter")
    scores = {f"val/{name}": value for name, value in score(results).items()}
    ledger = LedgerWriter.create(folder / "results", spec)

    def add(number: int, state: TrialState | None, **finish: Any) -> None:
        fingerprint = f"{number + 10:08x}" + "0" * 56
        name = trial_id(number, fingerprint)
        ledger.trial_started(planned(name, number, fingerprint, spec.trial, {}))
        if state is not None:
            ledger.trial_finished(name, state, **finish)

    complete = {"metrics": scores, "adapter_files": files, "results": results}
    add(0, TrialState.COMPLETE, **complete)
    add(1, None)
    add(2, TrialState.FAILED, reason="loss is nan at step 3 of 4")
    dora = json.dumps({**json.loads(files[CONFIG]), "use_dora": True}).encode()
    add(3, TrialState.COMPLETE, **{**complete, "adapter_files": {**files, CONFIG: dora}})
    whole = {"config.json": b"{}", "model.safetensors": files[WEIGHTS]}
    add(4, TrialState.COMPLETE, **{**complete, "adapter_files": whole})
    add(5, TrialState.STOPPED, **{**complete, "metrics": {**scores, "val/mean": 0.5625}})
    add(11, None)
    ledger.close()
    return ledger


def rows(output: str) -> list[list[str]]:
    """The cells of the printed table, below its head."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output.splitlines()
        if line.startswith("│")
    ]


def test_the_curve_starts_at_what_was_trained_and_every_adapter_is_written(
    call: Call, sweep: LedgerWriter, tmp_path: Path
) -> None:
    output = tmp_path / "compressed"
    code, printed, complaints = call(
        *("compress", "small", "t0000", "--storage", str(sweep.storage), "--output", str(output))
    )
    assert (code, complaints) == (0, "")
    trial = sweep.records()[0]
    first, *lower = rows(printed)
    logged = f"{100 * trial.metrics['val/builtin_choice']:.1f} %"
    assert first[0] == "6, as trained"
    assert first[3:] == ["0.0 %", logged, logged]
    # The comparison means something.
    assert trial.metrics["val/builtin_choice"] > 0.25
    assert "in the sweep" not in printed
    assert [row[0] for row in lower] == ["3", "1"]
    errors = [float(row[3].rstrip("%")) for row in lower]
    assert 0 < errors[0] < errors[1] < 100
    assert "within one point of rank 6 on the mean" in printed.splitlines()[-1]

    assert sorted(path.name for path in output.iterdir()) == ["rank-1", "rank-3"]
    full = sum(tensor.numel() for tensor in load((trial.adapter / WEIGHTS).read_bytes()).values())
    for rank, row in ((3, lower[0]), (1, lower[1])):
        folder = output / f"rank-{rank}"
        verify_adapter(folder)
        loaded = load((folder / WEIGHTS).read_bytes())
        assert sum(tensor.numel() for tensor in loaded.values()) * 6 == full * rank
        assert row[2] == f"{(folder / WEIGHTS).stat().st_size / 1000:.1f} kB"
        assert f"Truncated after training to rank {rank} from rank 6" in (
            (folder / "README.md").read_text()
        )
        assert json.loads((folder / "droplora.json").read_text())["compressed"]["rank"] == rank


def test_a_row_is_what_the_written_adapter_scores(
    call: Call, sweep: LedgerWriter, tmp_path: Path
) -> None:
    _, printed, _ = call(
        *("compress", "small", sweep.records()[0].trial_id, "--ranks", "2,2,6"),
        *("--storage", str(sweep.storage), "--output", str(tmp_path)),
    )
    _, [rank, *_, mean] = rows(printed)
    spec = TrialSpec.model_validate(sweep.records()[0].spec)
    model = PeftModel.from_pretrained(load_base_model(spec.model), tmp_path / "rank-2")
    results = evaluate(model, load_tokenizer(spec.model), load_task(spec.task), spec.evaluation)
    assert (rank, mean) == ("2", f"{100 * score(results)['mean']:.1f} %")


def test_a_score_that_is_not_the_logged_one_is_told(call: Call, sweep: LedgerWriter) -> None:
    code, printed, _ = call(
        "compress", "small", "t0005", "--ranks", "6", "--storage", str(sweep.storage)
    )
    assert code == 0
    assert len(rows(printed)) == 1
    score_here = sweep.records()[0].metrics["val/mean"]
    assert printed.splitlines()[-1] == (
        f"rank 6, as trained, has {score_here:.2%} here and 56.25% in the sweep: another machine, "
        "other packages or other data"
    )


@pytest.mark.parametrize(
    ("trial", "complaint"),
    [
        ("t0001", "trial: must have an adapter, got {1}, running"),
        ("t0002", "trial: must have an adapter, got {2}, failed: loss is nan at step 3 of 4"),
        ("t0009", "trial: must be one of small's, got t0009; `droplora-sweep status small` lists"),
        ("", "trial: must be one of small's, got ; "),
        ("t000", "trial: must be one of small's, got t000, which begins 6 of them; "),
    ],
)
def test_a_trial_without_an_adapter_is_one_line(
    call: Call, sweep: LedgerWriter, trial: str, complaint: str
) -> None:
    code, printed, complaints = call("compress", "small", trial, "--storage", str(sweep.storage))
    assert (code, printed) == (1, "")
    ids = [record.trial_id for record in sweep.records()]
    assert complaints.startswith(complaint.format(*ids))
    assert complaints.count("\n") == 1


def test_an_unknown_sweep_is_one_line(call: Call, sweep: LedgerWriter) -> None:
    code, _, complaints = call("compress", "nope", "t0000", "--storage", str(sweep.storage))
    assert code == 1
    assert complaints == (f"name: must be a sweep in {sweep.storage}, got 'nope'; it has small\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("t0000", "--ranks", "8,four"), "--ranks: must be whole numbers with commas between, "),
        (("t0000", "--ranks", "3,7"), "{0}: rank: must be from 1 to 6, the adapter's own, got 7"),
        (("t0000", "--ranks", "0"), "{0}: rank: must be from 1 to 6, the adapter's own, got 0"),
        (("t0003",), "{3}: adapter: must not be DoRA: "),
        (("t0004",), "{4}: adapter: must hold adapter_config.json and adapter_model.safetensors"),
    ],
)
def test_what_cannot_be_truncated_is_refused_before_anything_is_scored(
    call: Call, sweep: LedgerWriter, arguments: tuple[str, ...], complaint: str
) -> None:
    code, printed, complaints = call(
        "compress", "small", *arguments, "--storage", str(sweep.storage)
    )
    assert (code, printed) == (2, "")
    ids = [record.trial_id for record in sweep.records()]
    assert complaints.startswith(complaint.format(*ids))
    assert complaints.count("\n") == 1


def test_nothing_that_exists_is_replaced(call: Call, sweep: LedgerWriter, tmp_path: Path) -> None:
    (tmp_path / "rank-3").mkdir()
    code, _, complaints = call(
        *("compress", "small", "t0000", "--storage", str(sweep.storage)),
        *("--output", str(tmp_path)),
    )
    assert code == 2
    assert complaints == f"--output: must be new, got {tmp_path}/rank-3, which exists\n"
    assert [path.name for path in tmp_path.iterdir()] == ["rank-3"]


def point(rank: int, num_correct: int, num_examples: int = 200) -> RankPoint:
    by_example = {f"e{index}": float(index < num_correct) for index in range(num_examples)}
    share = num_correct / num_examples
    scores = {"choice": share, "mean": share}
    return RankPoint(
        rank=rank,
        num_parameters=100 * rank,
        weight_bytes=400 * rank,
        relative_error=0.0,
        scores=scores,
        by_example={"choice": by_example},
    )


def test_the_lowest_rank_within_one_point_is_kept_with_its_paired_interval() -> None:
    points = [point(8, 142), point(4, 143), point(2, 140), point(1, 139)]
    kept = lowest_kept(points)
    assert kept is not None
    assert kept.rank == 2
    assert kept.difference.value == pytest.approx(-MARGIN)
    assert kept.difference.low < -MARGIN < kept.difference.high
    assert not kept.is_sure


def test_on_enough_examples_a_larger_loss_is_ruled_out() -> None:
    kept = lowest_kept([point(2, 1500, 2000), point(1, 1500, 2000)])
    assert kept is not None
    assert kept.is_sure


def test_no_lower_rank_may_be_close_enough() -> None:
    assert lowest_kept([point(2, 142), point(1, 139)]) is None
    assert lowest_kept([point(1, 142)]) is None
