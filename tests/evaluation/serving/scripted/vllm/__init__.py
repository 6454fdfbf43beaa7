"""A program in vLLM's place that fails as it is told to, for ``vllm_server.py``.

``SCRIPTED_VLLM`` is a JSON object: ``at`` is ``start``, ``load``, ``step`` or ``nowhere``, and
``fault`` is what happens there. Its responses are those of the file ``answers``, by prompt, else
the numbers that follow the prompt's last token: 100 higher with an adapter, unless it is ``deaf``,
and higher by the last digit of a seed. Other entries name files that it writes: its own process to
``pid``, that of a child to ``child``, what it is told to ``told``, and adapters to ``given``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SCRIPT: dict[str, Any] = json.loads(os.environ.get("SCRIPTED_VLLM", "{}"))


def reach(place: str) -> None:
    """Fail here, where the script says so."""
    if SCRIPT.get("at") != place:
        return
    fault = SCRIPT["fault"]
    if fault == "hang":
        time.sleep(1000)
    elif fault == "raise":
        raise ValueError("there is no\nroom for it")
    elif fault == "die":
        sys.stderr.write("Traceback\nOSError: the GPU fell off\nanother line\n")
        sys.stderr.flush()
        os._exit(3)
    elif fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "babble":
        os.write(int(sys.argv[1]), b"INFO: not JSON\n")
    else:
        raise AssertionError(fault)


class SamplingParams:
    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)


class Engine:
    def __init__(self) -> None:
        self._requests: dict[str, Any] = {}
        self._loaded: set[int] = set()
        self._answers: list[Any] = []
        if "answers" in SCRIPT:
            self._answers = json.loads(Path(SCRIPT["answers"]).read_text())

    def add_lora(self, request: Any) -> None:
        reach("load")
        if not (Path(request.path) / "adapter_config.json").is_file():
            raise FileNotFoundError(f"no adapter in {request.path}")
        if "given" in SCRIPT:
            shutil.copytree(request.path, SCRIPT["given"], dirs_exist_ok=True)
        self._loaded.add(request.lora_int_id)

    def remove_lora(self, number: int) -> None:
        self._loaded.remove(number)

    def add_request(self, name: str, prompt: Any, params: Any, lora_request: Any) -> None:
        assert lora_request is None or lora_request.lora_int_id in self._loaded
        tokens = prompt["prompt_token_ids"]
        higher = 100 * (lora_request is not None and not SCRIPT.get("deaf", False))
        higher += getattr(params, "seed", 0) % 10
        follow = [tokens[-1] + higher + index for index in range(1, params.max_tokens + 1)]
        known = [answer for asked, answer in self._answers if asked == tokens]
        self._requests[name] = (iter([*(known or [[]])[0], *follow][: params.max_tokens]), params)

    def has_unfinished_requests(self) -> bool:
        return bool(self._requests)

    def abort_request(self, names: list[str]) -> None:
        for name in names:
            self._requests.pop(name, None)

    def step(self) -> list[Any]:
        reach("step")
        outputs = []
        for name, (left, params) in list(self._requests.items()):
            token = next(left, None)
            if token is None or token in params.stop_token_ids:
                del self._requests[name]
            if token is not None:
                likely = {token: SimpleNamespace(logprob=-0.5)}
                output = SimpleNamespace(token_ids=[token], logprobs=[likely])
                outputs.append(SimpleNamespace(request_id=name, outputs=[output]))
        return outputs

    def sleep(self, level: int) -> None:
        assert level == 1

    def wake_up(self) -> None:
        reach("wake")


class LLM:
    def __init__(self, **options: Any) -> None:
        if "pid" in SCRIPT:
            Path(SCRIPT["pid"]).write_text(str(os.getpid()))
        reach("start")
        if "child" in SCRIPT:
            child = subprocess.Popen(["sleep", "1000"])
            Path(SCRIPT["child"]).write_text(str(child.pid))
        if "told" in SCRIPT:
            told = {"options": options, "environ": dict(os.environ), "path": sys.path}
            Path(SCRIPT["told"]).write_text(json.dumps(told))
        self.llm_engine = Engine()
