"""The card names what was trained, what its files are, and how they are loaded."""

import ast
from dataclasses import replace

import pytest
import yaml

from droplora_sweep.ledger.model_card import model_card
from droplora_sweep.spec import EvaluationSpec, ModelSpec, TaskSpec
from droplora_sweep.tasks.task import Example, render_prompt

COMMIT = "ab" * 20


@pytest.fixture
def card(make_driver):
    def write(model=None, **adapter):
        driver = make_driver(model=model or ModelSpec())
        return (driver.ledger.trial(driver.run(0, **adapter)).adapter / "README.md").read_text()

    return write


def first_paragraph(card):
    return card.split("\n\n")[2]


def snippet(card):
    return card.partition("```python\n")[2].partition("```")[0]


PLAIN = "Its files are those of a plain LoRA adapter"
TWICE = (
    "Its files are those of a plain LoRA adapter for the original base, saved at twice the rank: "
    "nothing is pruned at inference."
)


@pytest.mark.parametrize(
    ("adapter", "what"),
    [
        ({}, "DropLoRA (pruning rate 0.2, mask per token) of rank 8 on `builtin`"),
        ({"method": "lora"}, "DropLoRA (pruning rate 0.2, mask per token)"),
        ({"mask": "step"}, "DropLoRA (pruning rate 0.2, mask per step)"),
        ({"mask": "sample"}, "DropLoRA (pruning rate 0.2, mask per sequence)"),
        ({"mask": "learned"}, "DropLoRA (pruning rate 0.2, learned mask)"),
        ({"mask": "learned"}, f"{PLAIN}: what the mask drops is zero in its weights."),
        ({"pruning_schedule": "cosine"}, "(pruning rate 0.2, cosine schedule, mask per token)"),
        (
            {"module_pruning_rates": {"q_proj": 0.1, "up_proj": 0.0}},
            "(pruning rate 0.2, 0.1 in q_proj, 0 in up_proj, mask per token)",
        ),
        ({"pruning_rate": 0.0}, "LoRA (no pruning) of rank 8 on `builtin`, trained on choice."),
        ({"pruning_rate": 0.0}, f"{PLAIN}: nothing is pruned at inference."),
        ({"pruning_rate": 0.0, "method": "dora"}, "DoRA (no pruning)"),
        ({"method": "dora"}, "DoRA with the mask of DropLoRA (pruning rate 0.2, mask per token)"),
        ({"method": "dora"}, "Its files are those of a DoRA adapter as PEFT has it: nothing is"),
        ({"method": "pissa"}, "PiSSA with the mask of DropLoRA (pruning rate 0.2, mask per token)"),
        ({"method": "pissa"}, TWICE),
        ({"method": "milora"}, "MiLoRA with the mask of DropLoRA"),
        ({"method": "milora"}, TWICE),
        ({"method": "rslora"}, "rsLoRA with the mask of DropLoRA"),
        ({"method": "rslora"}, "a LoRA adapter that PEFT scales by alpha / sqrt(rank):"),
        ({"method": "lora_drop"}, "LoRA-drop with the mask of DropLoRA"),
        ({"method": "lora_drop"}, "with what layers share written out for each:"),
    ],
    ids=str,
)
def test_method_mask_and_files_are_named(card, adapter, what):
    assert what in first_paragraph(card(**adapter))


def test_an_adapter_s_metadata_and_loading(card):
    text = card(method="dora")

    assert yaml.safe_load(text.split("---\n")[1]) == {
        "base_model": "builtin",
        "library_name": "peft",
        "tags": ["dora", "droplora", "lora"],
        "pruning_rate": 0.2,
        "mask": "token",
    }
    assert snippet(text).splitlines()[-3:] == [
        'model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")',
        "model = PeftModel.from_pretrained(model, folder).eval()",
        "tokenizer = AutoTokenizer.from_pretrained(base)",
    ]
    assert "## Prompt" not in text, "a benchmark of a plug-in that is not here"


def test_a_full_model_is_no_adapter(card):
    text = card(method="full", pruning_rate=0.0)

    assert first_paragraph(text) == (
        "Full fine-tuning of `builtin`, trained on choice. Its files are those of a full model, "
        "not of an adapter."
    )
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "base_model": "builtin",
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "tags": ["full-fine-tuning"],
    }
    assert snippet(text).splitlines()[-2:] == [
        'model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()',
        "tokenizer = AutoTokenizer.from_pretrained(base)",
    ]


def test_precision_revision_and_quantization_are_in_how_it_is_loaded(card):
    model = ModelSpec(path="org/base", revision=COMMIT, dtype="bfloat16", quantization="4bit")
    text = card(model=model)

    assert snippet(text).splitlines()[-4:] == [
        "base = 'org/base'",
        f"model = AutoModelForCausalLM.from_pretrained(base, revision='{COMMIT}', "
        'dtype="bfloat16")',
        "model = PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False).eval()",
        f"tokenizer = AutoTokenizer.from_pretrained(base, revision='{COMMIT}')",
    ]
    assert "The base model was held in 4 bits (bitsandbytes) while the adapter was trained" in text
    assert "`builtin` is" not in text


@pytest.mark.parametrize("adapter", [{}, {"method": "full", "pruning_rate": 0.0}], ids=str)
def test_how_to_load_is_python(card, adapter):
    ast.parse(snippet(card(**adapter)))


def trial_of(driver, task, **evaluation):
    """A trial as another task and evaluation would have it."""
    trial = driver.ledger.trial(driver.run(0))
    spec = {
        **trial.spec,
        "task": TaskSpec.model_validate(task).model_dump(mode="json"),
        "evaluation": EvaluationSpec(**evaluation).model_dump(mode="json"),
    }
    return replace(trial, spec=spec)


def test_the_prompt_is_shown_and_the_snippet_has_each_task_s_own(make_driver):
    trial = trial_of(make_driver(), {"benchmarks": ["boolq", "gsm8k"]}, max_new_tokens=32)
    text = model_card(trial, "demo", {})
    _, _, section = text.partition("## Prompt\n")
    shown = section.partition("```text\n")[2].partition("\n```")[0]
    assert shown.startswith("Below is an instruction that describes a task. Write a response")
    assert "### Instruction:\nWhich of these comes first?" in shown
    assert shown.endswith("### Response:\n")
    assert "A response to boolq names one of `true`, `false`.\n" in section
    assert "compared by their probability" not in section
    tasks = ast.literal_eval(
        snippet(text).partition("TASKS = ")[2].partition("\n\n\ndef answer")[0]
    )
    example = Example(instruction="Who?", input="", output="", answer="")
    with_input = replace(example, input="A text.")
    for name, suffix in (("boolq", "\n"), ("gsm8k", " Let's think step by step.")):
        for one, key in ((example, "prompt"), (with_input, "prompt with input")):
            given = tasks[name][key].replace("{input}", one.input)
            assert given.replace("{instruction}", one.instruction) == render_prompt(one, suffix)
        assert tasks[name]["max_new_tokens"] == 32


def test_a_prompt_of_one_s_own_and_scored_options_are_told(make_driver):
    task = {"benchmarks": ["boolq"], "prompt": "Q: {instruction} {input}\nA:"}
    trial = trial_of(make_driver(), task, choice="score")
    text = model_card(trial, "demo", {})
    assert "```text\nQ: Which of these comes first?" in text
    assert "compared by their probability" in text
    ast.parse(snippet(text))


@pytest.mark.parametrize("system", [None, "You help."])
def test_a_chat_is_told_and_rendered_by_its_template(make_driver, system):
    task = {"benchmarks": ["gsm8k"], "prompt": "chat", "system": system}
    text = model_card(trial_of(make_driver(), task), "demo", {})
    assert "with the chat template of the base model's tokenizer" in text
    assert ("the system's text is 'You help.'" in text) == (system is not None)
    assert "Let's think step by step.\n```" in text
    code = snippet(text)
    ast.parse(code)
    assert code.count("apply_chat_template(") == 2
    assert "'prompt': \"{instruction} Let's think step by step.\"," in code
    assert ('{"role": "system", "content": \'You help.\'}' in code) == (system is not None)


def test_code_from_a_model_s_folder_is_allowed_where_it_was(make_driver):
    model = ModelSpec(path="org/base", revision=COMMIT, trust_remote_code=True)
    trial = trial_of(make_driver(model=model), {"benchmarks": ["boolq"]})
    lines = snippet(model_card(trial, "demo", {})).splitlines()
    assert sum("trust_remote_code=True" in line for line in lines) == 2
