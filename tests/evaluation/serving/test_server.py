"""The client and the process of a vLLM server, whose vLLM is scripted: it dies, hangs, refuses."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.evaluation.generation import Sampling
from droplora_sweep.evaluation.serving import environment
from droplora_sweep.evaluation.serving.client import ServerSettings, VllmServer, engine_rank
from droplora_sweep.evaluation.serving.process import ServerError, ServerProcess
from tests.evaluation.serving.environment import use_scripted_vllm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = ServerSettings(
    model=Path("/models/m"), dtype="float32", max_rank=16, max_tokens=64, max_sequences=4
)
STOP = 7


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    def use(**script: Any) -> None:
        use_scripted_vllm(monkeypatch, tmp_path, **script)

    return use


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").touch()
    return folder


@pytest.fixture
def server(script: Callable[..., None]) -> Iterator[VllmServer]:
    script()
    server = VllmServer(SETTINGS)
    yield server
    server.close()


def generate(server: VllmServer, adapter: Path | None = None, **options: Any) -> list[list[int]]:
    prompts = [[3, 1], [4]]
    return server.generate(prompts, max_new_tokens=5, stop_ids=[STOP], adapter=adapter, **options)


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_responses_are_in_the_order_of_the_prompts(server: VllmServer, adapter: Path) -> None:
    assert generate(server) == [[2, 3, 4, 5, 6], [5, 6, STOP]]
    assert generate(server, adapter) == [[102, 103, 104, 105, 106], [105, 106, 107, 108, 109]]
    assert generate(server) == [[2, 3, 4, 5, 6], [5, 6, STOP]], "the adapter was for one call"


def test_a_complete_response_ends(server: VllmServer) -> None:
    ended = generate(server, is_complete=lambda tokens: tokens[-1] in (3, 6))
    assert ended == [[2, 3], [5, 6]]
    assert generate(server) == [[2, 3, 4, 5, 6], [5, 6, STOP]], "nothing of it is left"


def test_an_adapter_is_swapped_without_a_restart(server: VllmServer, adapter: Path) -> None:
    pid = server.pid
    for _ in range(3):
        assert server.probe([1, 2], adapter).has_changed()
        generate(server, adapter)
    assert server.pid == pid
    assert server.is_running


def test_an_adapter_that_is_not_taken_is_no_end(server: VllmServer, tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        generate(server, tmp_path / "none")
    assert str(caught.value) == (
        f"vLLM does not load the adapter: FileNotFoundError: no adapter in {tmp_path / 'none'}"
    )
    assert generate(server) == [[2, 3, 4, 5, 6], [5, 6, STOP]]


def test_an_adapter_without_effect_is_noticed(script: Callable[..., None], adapter: Path) -> None:
    script(deaf=True)
    server = VllmServer(SETTINGS)
    assert not server.probe([1, 2], adapter).has_changed()
    server.close()


FAILURES = {
    "raise": "vLLM failed: ValueError: there is no room for it",
    "die": "vLLM ended with code 3: OSError: the GPU fell off",
    "killed": "vLLM was ended by SIGKILL",
    "hang": "vLLM gave no sign for 2 s",
    "babble": "vLLM answered what is no message: b'INFO: not JSON'",
}


@pytest.mark.parametrize("fault", FAILURES)
@pytest.mark.parametrize("place", ["start", "step"])
def test_a_failure_has_its_reason_and_leaves_nothing(
    script: Callable[..., None], tmp_path: Path, place: str, fault: str
) -> None:
    script(at=place, fault=fault, pid=str(tmp_path / "pid"))
    limit_s = 2 if fault == "hang" else 60
    servers = []

    def use() -> None:
        limits = {"start_limit_s": limit_s, "silence_limit_s": limit_s}
        servers.append(VllmServer(SETTINGS, **limits))
        generate(servers[0])

    with pytest.raises(ServerError) as caught:
        use()
    assert str(caught.value) == FAILURES[fault]
    for server in servers:
        assert not server.is_running
        with pytest.raises(ServerError, match="vLLM has ended"):
            generate(server)
    assert ends(int((tmp_path / "pid").read_text()))


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"vLLM cannot be started: .*No such file"):
        VllmServer(SETTINGS, command=[str(tmp_path / "python")])


def test_a_python_without_vllm() -> None:
    with pytest.raises(ServerError) as caught:
        VllmServer(SETTINGS, command=[sys.executable, "-I", str(environment.SCRIPT)])
    assert str(caught.value) == "vLLM failed: ModuleNotFoundError: No module named 'vllm'"


def test_what_is_waited_for_shows_progress(script: Callable[..., None]) -> None:
    script(at="step", fault="hang")
    signs: list[float] = []
    server = VllmServer(SETTINGS, on_wait=lambda: signs.append(time.monotonic()), silence_limit_s=3)
    signs.clear()
    with pytest.raises(ServerError):
        generate(server)
    assert len(signs) >= 2


def test_closing_ends_what_it_had_started(script: Callable[..., None], tmp_path: Path) -> None:
    script(child=str(tmp_path / "child"))
    server = VllmServer(SETTINGS)
    child = int((tmp_path / "child").read_text())
    assert is_running(child)
    server.close()
    assert ends(server.pid)
    assert ends(child)
    server.close()


def test_a_forgotten_server_is_ended(script: Callable[..., None]) -> None:
    script()
    server = VllmServer(SETTINGS)
    pid = server.pid
    del server
    gc.collect()
    assert ends(pid)


OWNER = """
import time
from pathlib import Path
from droplora_sweep.evaluation.serving.client import ServerSettings, VllmServer
settings = dict(model=Path("/m"), dtype="float32", max_rank=8, max_tokens=64, max_sequences=4)
server = VllmServer(ServerSettings(**settings))
print(server.pid, flush=True)
if {hangs}:
    server.generate([[1]], max_new_tokens=5, stop_ids=[7], adapter=None)
time.sleep(1000)
"""


@pytest.mark.parametrize("hangs", [False, True], ids=["idle", "in a step"])
def test_a_killed_worker_leaves_no_server(script: Callable[..., None], *, hangs: bool) -> None:
    script(at="step" if hangs else "nowhere", fault="hang")
    code = OWNER.format(hangs=hangs)
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    time.sleep(1)
    assert is_running(pid)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert ends(pid)
    owner.stdout.close()


def test_samples_are_drawn_as_asked(server: VllmServer) -> None:
    drawn = Sampling(temperature=0.5, top_p=0.9, seeds=(1, 2**63 - 1))
    assert generate(server, sampling=drawn) == [[3, 4, 5, 6, STOP], [12, 13, 14, 15, 16]]


def test_what_a_server_is_told(
    script: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    script(told=str(tmp_path / "told"))
    VllmServer(SETTINGS).close()
    told = json.loads((tmp_path / "told").read_text())
    assert told["options"]["max_lora_rank"] == 16
    assert told["options"]["kv_cache_memory_bytes"] == SETTINGS.kv_cache_bytes
    assert "enable_sleep_mode" not in told["options"]
    assert told["environ"]["CUDA_VISIBLE_DEVICES"] == ""
    foreign = {"MASTER_PORT", "PYTORCH_CUDA_ALLOC_CONF", "RAY_ADDRESS", "PYTHONPATH"}
    assert not foreign & told["environ"].keys()
    folder = str(environment.SCRIPT.parent)
    assert folder not in told["path"], "its modules would take the place of others"


def test_a_gpu_is_named_and_shared(
    script: Callable[..., None], tmp_path: Path, adapter: Path
) -> None:
    script(told=str(tmp_path / "told"))
    settings = ServerSettings(
        model=Path("/models/m"),
        dtype="bfloat16",
        max_rank=16,
        max_tokens=64,
        max_sequences=4,
        gpu="GPU-8932f937",
        memory_share=0.4,
    )
    server = VllmServer(settings)
    told = json.loads((tmp_path / "told").read_text())
    assert told["environ"]["CUDA_VISIBLE_DEVICES"] == "GPU-8932f937"
    assert told["options"]["gpu_memory_utilization"] == 0.4
    assert told["options"]["enable_sleep_mode"]
    server.sleep()
    server.sleep()
    assert generate(server, adapter)[0] == [102, 103, 104, 105, 106]
    server.close()


def test_a_server_that_does_not_wake_is_ended(script: Callable[..., None]) -> None:
    script(at="wake", fault="raise")
    settings = ServerSettings(
        model=Path("/m"), dtype="bfloat16", max_rank=8, max_tokens=64, max_sequences=4, gpu="0"
    )
    server = VllmServer(settings)
    server.sleep()
    with pytest.raises(ServerError, match="there is no room"):
        generate(server)
    assert not server.is_running


def test_a_server_that_takes_no_message() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    process = ServerProcess(command, {}, name="it")
    with pytest.raises(ServerError, match="it took no message for 1 s"):
        process.send({"kind": "x" * 10_000_000}, 1)
    assert not process.is_running
    assert ends(process.pid)


def test_an_engine_takes_the_next_rank_that_vllm_knows() -> None:
    ranks = [engine_rank(rank) for rank in (1, 2, 8, 9, 33, 300, 512)]
    assert ranks == [1, 8, 8, 16, 64, 320, 512]


def test_the_environment_is_named_by_a_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: Callable[..., None]
) -> None:
    script()
    assert environment.environment_problem() is None
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path))
    assert environment.environment_problem() == (
        f"there is no vLLM in DROPLORA_VLLM={tmp_path}, which names vLLM's environment"
    )
    monkeypatch.delenv(environment.VARIABLE)
    assert environment.vllm_environment() == Path(sys.prefix).parent / ".venv-vllm"
