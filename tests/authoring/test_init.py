"""`init`: whatever it is given, the file that it writes is valid, planned, and in the hours."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from pyarrow.fs import FileSystem

from droplora_sweep.authoring.choices import learning_rates
from droplora_sweep.authoring.own_data import FREE_TEXT
from droplora_sweep.models.inspecting import inspect_model, published_models
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.plan.advice.learning_rate import prior_of
from droplora_sweep.spec import json_schema, load_sweep
from droplora_sweep.storage.object_store import below
from tests.calling import call

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.spec import SweepSpec

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DROPLORA_TEST_DATA", ROOT.parent / "shared" / "data"))
CASES = DATA.parent / "cases"
SMOLLM2 = Path(os.environ.get("DROPLORA_TEST_SMOLLM2", ROOT / "models" / "smollm2-135m"))
LLAMA = ("meta-llama/Llama-2-7b-hf", "01c7f73d771dfac7d292323805ebc428287df4f9")


@pytest.fixture
def init(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SweepSpec]:
    """Writes a search space in a folder of its own; checks it as a user does, and returns it."""
    monkeypatch.chdir(tmp_path)

    def run(*options: str | Path) -> SweepSpec:
        code, output, complaints = call(capsys, "init", "own.yaml", *options)
        assert (code, complaints) == (0, ""), complaints
        assert output.splitlines()[-1] == "next: droplora-sweep plan own.yaml"
        code, output, complaints = call(capsys, "validate", "own.yaml")
        assert (code, complaints) == (0, ""), complaints
        assert output.startswith("own.yaml: valid\n")
        code, output, complaints = call(capsys, "plan", "own.yaml", "--address", "local")
        assert (code, complaints) == (0, ""), complaints
        return load_sweep("own.yaml")

    return run


def plan_of(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    code, output, complaints = call(
        capsys, "plan", "own.yaml", "--address", "local", "--json", *options
    )
    assert (code, complaints) == (0, "")
    plan: dict[str, Any] = json.loads(output)
    return plan


def reviews(folder: Path, number: int = 240) -> Path:
    file = folder / "my reviews.csv"
    words = ("good", "bad", "so so")
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Review", "Sentiment", "id"])
        writer.writerows(
            [f"Number {index} was {words[index % 3]}, really.", words[index % 3], index]
            for index in range(number)
        )
    return file


def sums(folder: Path, number: int) -> Path:
    folder.mkdir()
    for split, first in (("train", 0), ("test", number)):
        records = [
            {"question": f"What is {index} + {index}?", "solution": str(2 * index)}
            for index in range(first, first + number)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


def test_without_options_it_is_the_built_in_model_and_data(init: Callable[..., SweepSpec]) -> None:
    sweep = init()
    assert sweep.model.path == "builtin"
    assert sweep.task.benchmarks == ("builtin_noisy", "builtin_math")
    assert sweep.confirm is not None
    assert "adapter.pruning_rate" in sweep.search.parameters


def test_classes_in_a_csv_are_a_choice(
    init: Callable[..., SweepSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = init("--data", reviews(tmp_path))
    [name] = sweep.task.benchmarks
    spec = sweep.task.benchmark_specs[name]
    assert name == sweep.name == "my-reviews"
    assert (spec.scoring, spec.options) == ("choice", ("bad", "good", "so so"))
    assert spec.fields == {"instruction": "Review", "answer": "Sentiment"}
    assert sweep.evaluation.choice == "score"
    plan = plan_of(capsys)
    splits = plan["splits"][name]
    assert splits["validation"] == splits["confirmation"] == 40
    assert splits["train"] == 160
    assert plan["notes"] == [] or all("odd" not in note for note in plan["notes"])


def test_numbers_in_files_of_their_own_splits(
    init: Callable[..., SweepSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = init("--data", sums(tmp_path / "sums", 300))
    spec = sweep.task.benchmark_specs["sums"]
    assert spec.scoring == "number"
    assert spec.fields == {"instruction": "question", "answer": "solution"}
    assert plan_of(capsys)["splits"]["sums"]["test"] == 300


def test_what_is_said_goes_before_what_is_found(
    init: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    options = ("--question", "id", "--answer", "Review", "--kind", "exact")
    sweep = init("--data", reviews(tmp_path), *options)
    [spec] = sweep.task.benchmark_specs.values()
    assert spec.scoring == "exact"
    assert spec.fields == {"instruction": "id", "answer": "Review"}


def chats(folder: Path, number: int = 200) -> Path:
    file = folder / "chat.jsonl"
    records = [
        {
            "messages": [
                {"role": "system", "content": "You count."},
                {"role": "user", "content": f"What comes after {index}?"},
                {"role": "assistant", "content": f"{index + 1}"},
                {"role": "user", "content": "And then?"},
                {"role": "assistant", "content": f"{index + 2}"},
            ]
        }
        for index in range(number)
    ]
    file.write_text("\n".join(map(json.dumps, records)))
    return file


def test_conversations_are_rendered_by_the_chat_template(
    init: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    sweep = init("--data", chats(tmp_path))
    assert sweep.task.prompt == "chat"
    [spec] = sweep.task.benchmark_specs.values()
    assert (spec.format, spec.scoring) == ("messages", "number")
    assert "Answer format" not in Path("own.yaml").read_text()


def test_a_model_with_a_chat_template_reads_every_question_by_it(
    init: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    model = tmp_path / "instruct"
    shutil.copytree(BUILTIN_FOLDER, model)
    sweep = init("--model", model, "--data", reviews(tmp_path))
    assert sweep.task.prompt == "chat"
    (model / "chat_template.jinja").unlink()
    Path("own.yaml").unlink()
    assert init("--model", model, "--data", reviews(tmp_path)).task.prompt is None


def test_free_text_is_searched_by_its_likelihood(
    init: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    words = " ".join(f"word{number}" for number in range(25))
    records = [{"question": f"Say {n}", "answer": f"{n} {words} {7 * n}"} for n in range(150)]
    file = tmp_path / "free.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    sweep = init("--data", file)
    assert sweep.task.benchmark_specs["free"].scoring == FREE_TEXT
    assert sweep.evaluation.likelihood
    assert sweep.search.metric == "bits_per_byte/val/mean"


def test_data_behind_a_url_are_named_by_it(
    init: Callable[..., SweepSpec], tmp_path: Path, s3_url: str
) -> None:
    url = below(s3_url, "reviews.csv")
    files, path = FileSystem.from_uri(url)
    with files.open_output_stream(path) as stream:
        stream.write(reviews(tmp_path).read_bytes())
    sweep = init("--data", url)
    [spec] = sweep.task.benchmark_specs.values()
    assert (sweep.name, spec.data, spec.scoring) == ("reviews", url, "choice")


def test_few_records_decide_on_the_examples_that_compared_the_trials(
    init: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    sweep = init("--data", reviews(tmp_path, 48))
    assert sweep.confirm is not None
    assert sweep.confirm.examples == "validation"
    assert sweep.task.num_validation == 12


def test_records_that_cannot_be_read_are_left_out_and_said(
    init: Callable[..., SweepSpec], tmp_path: Path
) -> None:
    file = tmp_path / "mixed.jsonl"
    good = [json.dumps({"question": f"q{n}", "answer": str(n * 7)}) for n in range(60)]
    file.write_text("\n".join([*good, '{"question": "no answer"}']))
    sweep = init("--data", file)
    assert sweep.task.on_bad_record == "skip"
    assert "61: answer: is missing" in Path("own.yaml").read_text()


@pytest.mark.parametrize("hours", [2.0, 12.0, 200.0])
def test_the_planned_gpu_hours_are_within_the_hours_given(
    init: Callable[..., SweepSpec],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    hours: float,
) -> None:
    path, revision = LLAMA
    model = ("--model", path, "--revision", revision)
    sweep = init(
        *("--data", reviews(tmp_path, 900), *model),
        *("--gpus", "2", "--gpu", "A100-80G", "--hours", f"{hours}"),
    )
    plan = plan_of(capsys, "--gpu", "A100-80G")
    assert 0 < plan["gpu_hours"]["total"] <= 2 * hours
    assert plan["fits"] is True
    confirm, budget = sweep.confirm, sweep.search.budget
    assert confirm is not None
    assert confirm.gpu_hours is not None
    assert budget.wall_clock_hours is not None
    assert budget.wall_clock_hours + confirm.gpu_hours / 2 <= hours
    assert (sweep.group.num_workers, sweep.group.gpus_per_worker, sweep.group.max_groups) == (
        *(1, 1),
        2,
    )
    assert sweep.model.dtype == "bfloat16"


def test_a_small_gpu_gets_a_smaller_micro_batch(
    init: Callable[..., SweepSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, revision = LLAMA
    words = " ".join(f"word{number}" for number in range(600))
    file = tmp_path / "long.jsonl"
    records = [{"question": f"{n} {words}", "answer": str(17 * n)} for n in range(200)]
    file.write_text("\n".join(map(json.dumps, records)))
    options = ("--gpus", "1", "--gpu", "L4", "--hours", "400")
    sweep = init("--data", file, "--model", path, "--revision", revision, *options)
    assert sweep.training.micro_batch_size < 8
    assert plan_of(capsys, "--gpu", "L4")["fits"] is True


def test_hours_that_are_too_few_are_refused_with_what_would_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, revision = LLAMA
    options = ["--data", str(reviews(tmp_path, 360)), "--model", path, "--revision", revision]
    options += ["--gpus", "1", "--gpu", "T4"]
    code, _, complaints = call(capsys, "init", "own.yaml", *options, "--hours", "0.01")
    assert code == 2
    said = re.match(r"--hours: must be at least ([\d.]+), which \d+ runs of \d+ steps", complaints)
    assert said is not None, complaints
    assert not Path("own.yaml").exists()
    code, _, complaints = call(capsys, "init", "own.yaml", *options, "--hours", said[1])
    assert (code, complaints) == (0, "")
    sweep = load_sweep("own.yaml")
    assert sweep.training.epochs is not None
    per_epoch = -(-(sweep.task.num_train or 0) // sweep.training.global_batch_size)
    assert 60 <= sweep.training.epochs * per_epoch < 66
    assert plan_of(capsys, "--gpu", "T4")["advice"] == [], "of what `init` chose itself"


def test_a_file_is_never_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("name: mine\n")
    code, _, complaints = call(capsys, "init", file)
    assert code == 2
    assert complaints.startswith(f"FILE: must be new, got {file}, which exists\n")
    assert file.read_text() == "name: mine\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ("--data", "no/such"),
            "--data: must be builtin, a URL, or a file or folder",
        ),
        (("--model", "no/such/model"), "--model: must be builtin, a folder or a Hub id, got no"),
        (("--gpus", "1"), "--gpu: must be given with --gpus, one of T4, V100"),
        (("--gpus", "1", "--gpu", "H9000"), "--gpu: must be one of T4, V100"),
        (("--hours", "0"), "--hours: must be greater than 0, got 0"),
        (
            ("--data", "odd.jsonl"),
            "--question: must name the column that asks, with --answer the one that answers, of "
            "odd.jsonl: it has foo, bar",
        ),
        (
            ("--data", "odd.jsonl", "--question", "baz"),
            "--question: must be one of the columns foo, bar, got baz",
        ),
        (
            ("--data", "odd.jsonl", "--question", "foo", "--answer", "bar"),
            "--data: must hold at least 16 different questions to train on and to score, got 3",
        ),
        (
            ("--data", "broken.csv"),
            "--data: must be data that can be read: broken.csv:1: must name each column once",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_option(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [json.dumps({"foo": str(number), "bar": "x"}) for number in range(3)]
    Path("odd.jsonl").write_text("\n".join(records))
    Path("broken.csv").write_text("a,a\n1,2\n")
    code, _, complaints = call(capsys, "init", "own.yaml", *options)
    assert code == 2
    assert complaints.startswith(complaint)
    assert not Path("own.yaml").exists()


def test_editors_accept_what_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call(capsys, "init", "own.yaml", "--data", reviews(tmp_path))
    text = Path("own.yaml").read_text()
    assert re.match(r"# yaml-language-server: \$schema=file:///\S+/schema\.json\n", text)
    jsonschema.validate(yaml.safe_load(text), json_schema())
    # Every value that was chosen says why.
    for field in ("num_trials", "num_validation", "epochs", "learning_rate", "rank", "seeds"):
        lines = text.splitlines()
        [at] = [index for index, line in enumerate(lines) if re.match(rf"\s+\S*{field}:", line)]
        assert "  # " in lines[at] or lines[at - 1].lstrip().startswith("# "), lines[at]


def test_the_learning_rates_hold_the_published_fit() -> None:
    for model in published_models().values():
        prior = prior_of(model)
        assert prior is not None
        rates = learning_rates(model)
        assert rates.low < prior.suggested < rates.high
    small = learning_rates(inspect_model(BUILTIN_FOLDER))
    # Those that the quickstart searches.
    assert small.low <= 5e-3
    assert small.high >= 2e-2


@pytest.mark.parametrize(
    ("case", "scoring"),
    [
        ("d10_csv/boolq", "choice"),
        ("d60_option_prefix/classes.json", "choice"),
        ("d16_num_exp/prices.json", "number"),
        ("d40_sharegpt_system/chat.json", "number"),
        ("d41_openai_messages/chat.json", "number"),
        ("d42_alpaca_no_answer/alpaca.json", "number"),
    ],
)
def test_files_that_people_reported(
    init: Callable[..., SweepSpec], case: str, scoring: str
) -> None:
    if not (CASES / case).exists():
        pytest.skip(f"{CASES / case}: DROPLORA_TEST_DATA names the benchmark files")
    sweep = init("--data", CASES / case)
    known = {"boolq": "choice"}
    scorings = {name: spec.scoring for name, spec in sweep.task.benchmark_specs.items()} or {
        name: known[name] for name in sweep.task.benchmarks
    }
    assert set(scorings.values()) == {scoring}


@pytest.mark.slow
@pytest.mark.parametrize("data", ["commonsense", "math/gsm8k_original", "code/mbpp/mbpp.jsonl"])
def test_real_benchmarks(init: Callable[..., SweepSpec], data: str) -> None:
    if not (DATA / data).exists():
        pytest.skip(f"{DATA / data}: DROPLORA_TEST_DATA names the benchmark files")
    init("--data", DATA / data)


@pytest.mark.slow
def test_a_real_small_model_on_a_real_benchmark(init: Callable[..., SweepSpec]) -> None:
    data = DATA / "commonsense" / "arc_easy"
    if not data.exists():
        pytest.skip(f"{data}: DROPLORA_TEST_DATA names the benchmark files")
    if not (SMOLLM2 / "config.json").is_file():
        pytest.skip("`make smollm2` was not run, nor does DROPLORA_TEST_SMOLLM2 name what it makes")
    sweep = init("--model", SMOLLM2, "--data", data, "--hours", "8")
    assert sweep.task.benchmarks == ("arc_easy",)
    assert sweep.task.num_train is not None


def conversation(arguments: list[str], folder: Path, answers: list[tuple[str, str]]) -> str:
    """Text that a command prints on a terminal whose user gives these answers."""
    own, its = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": "160"}
    process = subprocess.Popen(
        [sys.executable, "-m", "droplora_sweep", *arguments],
        cwd=folder,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        close_fds=True,
    )
    os.close(its)
    said = b""
    left = list(answers)
    try:
        while True:
            try:
                piece = os.read(own, 4096)
            except OSError:
                break
            if not piece:
                break
            said += piece
            if left and re.search(left[0][0], said.decode(errors="replace").splitlines()[-1]):
                os.write(own, f"{left.pop(0)[1]}\n".encode())
    finally:
        os.close(own)
    assert process.wait(60) == 0, said.decode()
    assert not left, f"{left} was not asked: {said.decode()}"
    return said.decode()


def test_on_a_terminal_it_asks_for_what_no_option_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews(tmp_path)
    said = conversation(
        ["init", "--hours", "2"],
        tmp_path,
        [
            (r"^Base model .*\[builtin\]: $", ""),
            (r"^Data .*\[builtin\]: $", "my reviews.csv"),
            (r"^Kind of the answers .*\[choice\]: $", "nonsense"),
            (r"^Kind of the answers: $", "exact"),
            (r"^GPUs to use .*: $", "0"),
            (r"^File to write \[my-reviews\.yaml\]: $", "mine.yaml"),
        ],
    )
    assert "my-reviews: 240 examples to train on, no test file" in said
    assert "Hours that it may take" not in said
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep("mine.yaml")
    assert sweep.task.benchmark_specs["my-reviews"].scoring == "exact"
