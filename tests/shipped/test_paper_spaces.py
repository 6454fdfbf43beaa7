"""The paper's tables and figures as search spaces: each is checked and planned without its files.

Each also has a line in its head that runs the same study on the built-in model.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.adapters.sizes import num_trainable_parameters
from droplora_sweep.analysis.paper import paper_results
from droplora_sweep.cli import main
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.plan.survey import survey
from droplora_sweep.spec import grid_size, load_sweep, load_sweep_file
from tests.calling import without_advice

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.spec import Parameter

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "search_spaces" / "paper"
FILES = sorted(FOLDER.glob("*.yaml"))
MODELS = {
    "llama2_7b": ("LLaMA2-7B", "meta-llama/Llama-2-7b-hf"),
    "llama3_8b": ("LLaMA3-8B", "meta-llama/Meta-Llama-3-8B"),
}
LEARNING_RATE = "training.learning_rate"


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs a command from the project's folder, without a network and a cluster."""
    monkeypatch.chdir(ROOT)
    # What HF_HUB_OFFLINE=1 does; the client reads that variable once, on import.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out + captured.err

    return run


def head_lines(file: Path) -> list[list[str]]:
    """The commands in a file's head, as a shell splits them."""
    comment = [
        line.removeprefix("#")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    ]
    text = "\n".join(comment).replace("\\\n", " ")
    return [
        shlex.split(line) for line in text.splitlines() if line.strip().startswith("droplora-sweep")
    ]


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_every_table_and_figure_is_there() -> None:
    tables = [f"table{number}_{model}" for number in (1, 2, 3, 4) for model in sorted(MODELS)]
    figures = ["figure2_code", "figure2_commonsense", "figure2_math", "figure3"]

    assert [file.stem for file in FILES] == [*figures, *tables, "table5"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_without_model_and_data_it_is_checked_and_planned(
    file: Path, call: Callable[..., tuple[int, str]]
) -> None:
    code, output = call("validate", relative(file))
    assert (code, output.splitlines()[0]) == (0, f"{relative(file)}: valid")
    assert "not checked: model.path: meta-llama/" in output
    assert "not checked: task.data: not given" in output

    code, output = call("plan", relative(file), "--address", "local")
    assert code == 0
    assert "trainable parameters" in output
    assert "not checked" in output


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_head_runs_the_same_study_on_the_built_in_model(
    file: Path, call: Callable[..., tuple[int, str]]
) -> None:
    own, builtin = head_lines(file)
    assert own == ["droplora-sweep", "run", relative(file), "--set", "task.data=FOLDER"]
    assert builtin[:3] == ["droplora-sweep", "run", relative(file)]
    settings = builtin[3:]

    code, output = call("validate", relative(file), *settings)
    assert (code, without_advice(output)) == (0, f"{relative(file)}: valid\n")
    code, output = call("plan", relative(file), *settings, "--address", "local")
    assert code == 0
    assert "not checked" not in output

    paper = load_sweep_file(file, needs_data=False).sweep
    small = load_sweep(file, [text for text in settings if text != "--set"])
    assert small.model.path == "builtin"
    assert small.name == f"{paper.name}-builtin"
    assert _studied(small.search.parameters) == _studied(paper.search.parameters)


def _studied(parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """The searched values; a small model's learning rate is its own."""
    return {path: domain for path, domain in parameters.items() if path != LEARNING_RATE}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_setting_of_the_paper_is_run_once(file: Path) -> None:
    sweep = load_sweep_file(file, needs_data=False).sweep

    assert sweep.search.num_trials == grid_size(sweep)


def test_tables_have_the_papers_methods_and_models() -> None:
    for number in (1, 2, 3, 4):
        for name, (model, hub_id) in MODELS.items():
            sweep = load_sweep_file(FOLDER / f"table{number}_{name}.yaml", needs_data=False).sweep
            wanted = {
                row.method
                for row in paper_results()
                if (row.source, row.model) == (f"Table {number}", model)
            }

            assert sweep.model.path == hub_id
            assert set(sweep.search.parameters["adapter.method"].members or ()) == wanted


@pytest.mark.parametrize(
    ("file", "method", "millions"),
    [
        # Tables 1 and 2, "# Parameters".
        ("table1_llama2_7b", "lora", 56.10),
        ("table1_llama2_7b", "dora", 56.98),
        ("table1_llama3_8b", "lora", 56.62),
        ("table1_llama3_8b", "dora", 57.41),
        ("table2_llama2_7b", "lora", 112.20),
        ("table2_llama2_7b", "dora", 113.07),
        ("table2_llama3_8b", "lora", 113.25),
        ("table2_llama3_8b", "dora", 114.03),
        ("table2_llama2_7b", "full", 6738),
    ],
)
def test_as_many_numbers_are_trained_as_the_paper_says(
    file: str, method: str, millions: float
) -> None:
    found = survey(load_sweep_file(FOLDER / f"{file}.yaml", needs_data=False))
    assert found.model is not None
    spec = found.sweep.adapter.model_copy(update={"method": method})

    counted = num_trainable_parameters(found.model.shapes, spec) / 1e6
    assert counted == pytest.approx(millions, abs=0.5 if method == "full" else 0.011)


def test_alpha_follows_table_7() -> None:
    for name, rank in (("table1_llama2_7b", 32), ("table2_llama2_7b", 64)):
        sweep = load_sweep_file(FOLDER / f"{name}.yaml", needs_data=False).sweep
        alpha = sweep.search.parameters["adapter.alpha"]

        assert (sweep.adapter.rank, sweep.adapter.alpha) == (rank, 2 * rank)
        assert alpha.when == {"adapter.method": ("pissa", "milora")}
        assert (alpha.members, alpha.ratio_of) == ((1,), "adapter.rank")


@pytest.mark.slow
@pytest.mark.ray
def test_the_head_line_of_table_5_runs_to_its_end(
    call: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    _, builtin = head_lines(FOLDER / "table5.yaml")

    code, output = call(*builtin[1:], "--set", f"storage={tmp_path}", "--address", "local")

    assert code == 0, output
    records = Ledger.open(tmp_path, "paper-table5-builtin").records()
    assert {
        (trial.spec["adapter"]["rank"], trial.spec["adapter"]["pruning_rate"], trial.state)
        for trial in records
    } == {(16, 0.0, "COMPLETE"), (32, 0.0, "COMPLETE"), (32, 0.5, "COMPLETE")}
