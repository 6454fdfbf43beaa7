"""Every search space that is shipped can be run, and editors know its keys."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.spec import baselines, json_schema, load_sweep, load_sweep_file, resolve

FOLDER = Path(__file__).parents[2] / "search_spaces"
PARTS = sorted(FOLDER.rglob("parts/*.yaml"))
FILES = [
    file
    for file in sorted(FOLDER.rglob("*.yaml"))
    # Tasks of lm-evaluation-harness are the library's to check.
    if file not in PARTS and file.read_text().startswith("# yaml-language-server")
]


def overrides(file: Path, folder: Path) -> list[str]:
    """Overrides that a user gives beside the file: the places of a model and of data."""
    needed = {
        "smollm2_chat.yaml": [
            f"model.path={folder}",
            f"task.benchmarks={{my_chat: {{data: {folder}, scoring: exact}}}}",
        ],
        "smollm2_arc.yaml": [f"model.path={folder}", f"task.data={folder}"],
    }
    if file.parent.name == "paper":
        return [f"task.data={folder}"]
    return needed.get(file.name, [])


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


class NumberLoader(yaml.SafeLoader):
    """Reads ``1e-4`` as the editors' YAML 1.2 does; plain PyYAML takes it for text."""


NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^\d+e-\d+$"), list("0123456789")
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_loads(file: Path, tmp_path: Path) -> None:
    sweep = load_sweep(file, overrides(file, tmp_path))

    assert sweep.search.parameters
    for values in baselines(sweep):
        resolve(values, sweep)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_editors_accept_it(file: Path, validator: jsonschema.Draft202012Validator) -> None:
    text = file.read_text(encoding="utf-8")
    depth = "../" * (len(file.relative_to(FOLDER).parts) - 1)

    assert text.splitlines()[0] == f"# yaml-language-server: $schema={depth}schema.json"
    validator.validate(yaml.load(text, Loader=NumberLoader))


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.stem)
def test_parts_have_keys_that_editors_know(
    file: Path, validator: jsonschema.Draft202012Validator
) -> None:
    values = yaml.load(file.read_text(encoding="utf-8"), Loader=NumberLoader)

    validator.validate({"name": "a-part-has-none", **values})


@pytest.mark.parametrize(
    "mistake",
    [
        {"name": "q", "adaptor": {}},
        {"name": "q", "adapter": {"rank": 0}},
        {"name": "q", "adapter": {"pruning_rate": 1}},
        {"name": "q", "search": {"parameters": {"adapter.rnk": {"values": [1]}}}},
        {"name": "q", "search": {"parameters": {"adapter.rank": {"min": 1}}}},
        {"name": "q", "search": {"parameters": {"adapter.rank": {"min": 1, "max": 2, "by": 1}}}},
        {},
    ],
)
def test_editors_show_mistakes(
    mistake: dict[str, object], validator: jsonschema.Draft202012Validator
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(mistake)


def test_every_key_is_documented_for_editors() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    models = {"SweepSpec": schema, **schema["$defs"]}
    undocumented = [
        f"{model}.{key}"
        for model, definition in models.items()
        # What any JSON value may be has no keys of its own.
        for key, content in definition.get("properties", {}).items()
        if "description" not in content and "$ref" not in content and key != "kind"
    ]

    assert undocumented == []


def test_the_schema_beside_the_files_is_current() -> None:
    shipped = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))

    assert shipped == json_schema(), "run `make schema`"


def test_the_real_task_says_how_to_give_its_data(tmp_path: Path) -> None:
    file = FOLDER / "smollm2_arc.yaml"

    with pytest.raises(InputError) as caught:
        load_sweep(file, [f"model.path={tmp_path}"])

    assert str(caught.value).endswith(
        ": task.data: must be given for arc_easy: the folder (or Hub id) that has "
        "arc_easy/train.json, e.g. --set task.data=FOLDER"
    )


@pytest.mark.parametrize("page", ["README.md", "search_spaces/README.md"])
def test_what_the_guides_show_is_a_sweep(page: str, tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```yaml\n(.*?)^```", (FOLDER.parent / page).read_text(encoding="utf-8"), re.M | re.S
    )
    assert blocks
    for block in blocks:
        file = tmp_path / "shown.yaml"
        name = "" if re.search(r"^name:", block, re.M) else "name: shown\n"
        # A block alone may leave out what the file around it searches.
        searched = (
            ""
            if re.search(r"^search:", block, re.M)
            else ("search: {parameters: {adapter.pruning_rate: {values: [0.0, 0.2]}}}\n")
        )
        file.write_text(name + block + searched)
        assert load_sweep_file(file, check_folders=False, needs_data=False).sweep.search.parameters
