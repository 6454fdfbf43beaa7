"""Models of a Hub on loopback: what is downloaded, by whom, and what is said of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.loopback_hub import COMMIT, Hub, hub_environment, serving

from .conftest import make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MODEL = "owner/small"
CONFIG = LlamaConfig(
    vocab_size=512,
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
)
CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A model in several files, as publishers leave it: twice, with code and other forms."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(7)
    LlamaForCausalLM(CONFIG).save_pretrained(folder, max_shard_size="2MB")
    make_tokenizer().save_pretrained(folder)
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    shards = [name for name in found if name.endswith(".safetensors")]
    assert len(shards) > 2
    return {
        **found,
        "consolidated.safetensors": b"".join(found[name] for name in shards),
        "original/model.safetensors": found[shards[0]],
        "pytorch_model.bin": b"a pickle",
        "modeling_own.py": CODE.encode(),
    }


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    with serving(Hub("models", MODEL, dict(files))) as server:
        yield server


def start(hub_url: str, home: Path, program: str, *specs: dict[str, Any]) -> subprocess.Popen[str]:
    """A process whose Hub is ``hub_url``; its program has each ``spec``, and prints JSON."""
    given = [{"path": MODEL, "revision": COMMIT, **spec} for spec in specs or ({},)]
    text = (
        "import json\n"
        "from droplora_sweep.errors import InputError\n"
        "from droplora_sweep.spec.trial import ModelSpec\n"
        f"for spec in map(ModelSpec.model_validate, json.loads({json.dumps(given)!r})):\n"
        "    try:\n"
        + "".join(f"        {line}\n" for line in program.strip().splitlines())
        + "    except InputError as error:\n        print(json.dumps(str(error)))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": str(ROOT), **hub_environment(hub_url, home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(process: subprocess.Popen[str]) -> list[Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def answer(process: subprocess.Popen[str]) -> Any:
    [only] = answers(process)
    return only


def weights(names: dict[str, Any]) -> set[str]:
    return {name for name in names if name.endswith((".safetensors", ".bin"))}


INSPECT = """
from droplora_sweep.models.inspecting import inspect
from droplora_sweep.models.loading import load_tokenizer
found = inspect(spec)
load_tokenizer(spec)
print(json.dumps([found.num_parameters, found.weight_bytes, sorted(found.shapes)]))
"""
RESOLVE = """
from droplora_sweep.models.resolving import resolve_model
print(json.dumps(sorted(path.name for path in resolve_model(spec).iterdir())))
"""


def test_sizes_are_read_without_the_weights(hub: Hub, tmp_path: Path) -> None:
    """A driver, which reads shapes and a tokenizer, asks for the beginning of each weight file."""
    num_parameters, num_bytes, names = answer(start(hub.url, tmp_path, INSPECT))
    model = LlamaForCausalLM(CONFIG)
    assert num_parameters == model.num_parameters()
    assert num_bytes == 4 * num_parameters
    assert names == sorted(model.state_dict())
    cached = tmp_path / "hf" / "hub"
    assert not weights({path.name: path for path in cached.rglob("*")})


def test_weights_are_downloaded_once_by_a_node(
    hub: Hub, tmp_path: Path, files: dict[str, bytes]
) -> None:
    """Three ranks ask at once; what the index does not name, and code, nobody asks for."""
    hub.bytes_per_s = 5e6
    ranks = [start(hub.url, tmp_path, RESOLVE) for _ in range(3)]
    found = [answer(rank) for rank in ranks]
    shards = {name for name in files if name.startswith("model-")}
    assert weights(hub.sent) == shards
    assert {name: hub.sent[name] for name in shards} == {name: len(files[name]) for name in shards}
    described = {"config.json", "generation_config.json", "model.safetensors.index.json"}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert found == [sorted(shards | described | tokenizer)] * 3

    # What is here asks nothing of the Hub, and needs none.
    num_asked = len(hub.asked)
    assert answer(start(hub.url, tmp_path, RESOLVE)) == found[0]
    assert len(hub.asked) == num_asked


def test_what_was_begun_is_completed(hub: Hub, tmp_path: Path) -> None:
    """A description that is here is no model yet, and is not asked for again."""
    answer(start(hub.url, tmp_path, INSPECT))
    before = dict(hub.sent)
    answer(start(hub.url, tmp_path, RESOLVE))
    assert hub.sent["tokenizer.json"] == before["tokenizer.json"]
    assert len(weights(hub.sent)) > 2


def test_a_download_says_how_far_it_is(hub: Hub, tmp_path: Path, files: dict[str, bytes]) -> None:
    shards = [name for name in files if name.startswith("model-")]
    hub.delays_s = {name: 3.0 * (number % 3) for number, name in enumerate(shards)}
    program = """
from droplora_sweep.models.resolving import resolve_model
lines = []
resolve_model(spec, lines.append)
print(json.dumps(lines))
"""
    lines = answer(start(hub.url, tmp_path, program))
    assert len(lines) > 1, "each look that finds more shows progress"
    assert lines[0] == f"downloading {MODEL} at {COMMIT[:12]}: 0 of 8 MB are here"
    assert set(lines[1:]) == {None}, "a line comes every half minute"


def test_code_of_a_hub_model_is_run_where_the_spec_says_so(
    hub: Hub, tmp_path: Path, files: dict[str, bytes]
) -> None:
    config = json.loads(files["config.json"])
    config["auto_map"] = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnModel",
    }
    config["model_type"] = "own"
    hub.files = {**files, "config.json": json.dumps(config).encode()}
    program = """
from droplora_sweep.models.loading import load_base_model
print(json.dumps(type(load_base_model(spec)).__name__))
"""
    refused = answer(start(hub.url, tmp_path, program))
    assert refused == (
        "model.trust_remote_code: must be true for a model whose Python code comes with it, which "
        f"is to be read first: cannot load {MODEL}"
    )
    assert "modeling_own.py" not in hub.sent
    assert answer(start(hub.url, tmp_path, program, {"trust_remote_code": True})) == "OwnModel"


def test_a_gated_model(hub: Hub, tmp_path: Path) -> None:
    hub.is_gated = True
    assert answer(start(hub.url, tmp_path, INSPECT)) == (
        f"model.path: needs a login with access to {MODEL} at the Hub: ask for it on the model's "
        "page, and set HF_TOKEN here and on the cluster"
    )


def test_a_commit_and_a_model_that_the_hub_has_not(hub: Hub, tmp_path: Path) -> None:
    other = "f" * 40
    specs = {"revision": other}, {"path": "owner/none"}
    assert answers(start(hub.url, tmp_path, INSPECT, *specs)) == [
        f"model.revision: must be a commit of {MODEL} at the Hub, got {other}",
        "model.path: no such folder and no such Hub model, got owner/none",
    ]


def test_a_hub_model_of_pickles_alone(hub: Hub, tmp_path: Path, files: dict[str, bytes]) -> None:
    hub.files = {name: one for name, one in files.items() if "safetensors" not in name}
    assert answer(start(hub.url, tmp_path, INSPECT)) == (
        f"model.path: must hold *.safetensors weights, got {MODEL} at {COMMIT[:12]}"
    )


def test_a_download_that_breaks_off_goes_on_later(
    hub: Hub, tmp_path: Path, files: dict[str, bytes]
) -> None:
    hub.bytes_per_s, hub.cut_after = 5e6, 600_000
    message = answer(start(hub.url, tmp_path, RESOLVE))
    assert message.startswith(
        f"model.path: cannot be downloaded to its end: {MODEL} at {COMMIT[:12]} broke off ("
    )
    assert message.endswith("); start again, and what has arrived is kept")
    hub.bytes_per_s = hub.cut_after = None
    assert "model.safetensors.index.json" in answer(start(hub.url, tmp_path, RESOLVE))
