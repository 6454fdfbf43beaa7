"""Client of one worker's vLLM server; needs neither torch nor vLLM."""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .environment import SCRIPT, vllm_environment
from .process import ServerError, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.evaluation.generation import Sampling

LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM takes for ``max_lora_rank``."""
START_LIMIT_S: Final = 600.0
"""Seconds that vLLM has to import its libraries, load the model and, on a GPU, capture graphs."""
SILENCE_LIMIT_S: Final = 300.0
"""Seconds that vLLM may say nothing in, where it says something after each step."""
CPU_STEP_TOKENS: Final = 128
"""Tokens of a step on a CPU, at most: vLLM's kernels for adapters there (0.32) write out A and B of
each token, with 2,048 tokens at rank 64 and a width of 11,008 in 6 GB."""

_FOREIGN: Final = re.compile(
    # Of this process's Python, its Ray, its process group; and of its allocator on a GPU, since
    # vLLM cannot sleep with expandable segments.
    r"PYTHON\w*|VIRTUAL_ENV|RAY_\w+|(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
    r"|TORCHELASTIC_\w+|PYTORCH_(CUDA_)?ALLOC_CONF"
)


def engine_rank(rank: int) -> int:
    """Return the smallest ``max_lora_rank`` of an engine that takes adapters of this rank."""
    return LORA_RANKS[bisect_left(LORA_RANKS, rank)]


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Settings of a server, which last as long as its process.

    Attributes:
        model: The base model's folder.
        dtype: Its precision.
        max_rank: The highest rank an adapter may have; one of ``LORA_RANKS``.
        max_tokens: The longest prompt with its response.
        max_sequences: Prompts that are decoded together, at most.
        trust_remote_code: Runs Python code from the model's folder.
        gpu: Name of its GPU, as ``CUDA_VISIBLE_DEVICES`` has it; None for the CPU.
        memory_share: Of the GPU's memory, for weights and KV cache; on a GPU alone.
        kv_cache_bytes: Of the KV cache; on a CPU alone.
        threads: Threads on a CPU.
    """

    model: Path
    dtype: str
    max_rank: int
    max_tokens: int
    max_sequences: int
    trust_remote_code: bool = False
    gpu: str | None = None
    memory_share: float = 0.3
    kv_cache_bytes: int = 1 << 30
    threads: int = 1

    def options(self) -> dict[str, Any]:
        """Return the arguments of ``vllm.LLM``."""
        place: dict[str, Any] = {
            "kv_cache_memory_bytes": self.kv_cache_bytes,
            "max_num_batched_tokens": max(CPU_STEP_TOKENS, self.max_sequences),
            "enable_chunked_prefill": True,
            # A GPU's graphs pay within seconds; a CPU's compiler does not.
            "enforce_eager": True,
        }
        if self.gpu is not None:
            place = {"gpu_memory_utilization": self.memory_share, "enable_sleep_mode": True}
        return {
            "model": str(self.model),
            "dtype": self.dtype,
            "enable_lora": True,
            "max_loras": 1,
            "max_cpu_loras": 1,
            "max_lora_rank": self.max_rank,
            "max_model_len": self.max_tokens,
            "max_num_seqs": self.max_sequences,
            "trust_remote_code": self.trust_remote_code,
            "skip_tokenizer_init": True,
            **place,
        }

    def environ(self, ours: Mapping[str, str]) -> dict[str, str]:
        """Return the server's environment variables, given those of this process."""
        kept = {name: value for name, value in ours.items() if not _FOREIGN.fullmatch(name)}
        return kept | {
            # One process, which is easily ended.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "WARNING",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": self.gpu or "",
            # Else every worker of a node would take the same cores.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(self.threads),
        }


@dataclass(frozen=True)
class Probed:
    """Log-probabilities of the likeliest tokens behind a prompt.

    Attributes:
        base: Of the base model, by token.
        adapted: With an adapter, by token.
    """

    base: Mapping[int, float]
    adapted: Mapping[int, float]

    def has_changed(self, tolerance: float = 1e-3) -> bool:
        """Return True where the adapter changes what the model computes, beyond rounding."""
        if self.base.keys() != self.adapted.keys():
            return True
        return any(
            abs(self.adapted[token] - value) > tolerance for token, value in self.base.items()
        )


class VllmServer:
    """A vLLM server of this worker's own; started when it is made.

    Every method may raise `ServerError`. The server has ended then, unless it was an adapter that
    vLLM does not take.

    Args:
        settings: Its settings.
        on_wait: Called about once a second while it is waited for.
        command: The program; by default the server's script, in vLLM's environment.
        start_limit_s: Seconds that it has to start.
        silence_limit_s: Seconds of silence, while it works, after which it counts as hung.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        on_wait: Callable[[], None] = lambda: None,
        command: Sequence[str] | None = None,
        start_limit_s: float = START_LIMIT_S,
        silence_limit_s: float = SILENCE_LIMIT_S,
    ) -> None:
        self.settings = settings
        self._limit_s = silence_limit_s
        if command is None:
            # Isolated: neither this package's folder nor the user's packages are in its path.
            command = [str(vllm_environment() / "bin" / "python"), "-I", str(SCRIPT)]
        started_s = time.monotonic()
        self._process = ServerProcess(
            command, settings.environ(os.environ), name="vLLM", on_wait=on_wait
        )
        self._process.send({"kind": "start", "options": settings.options()}, silence_limit_s)
        self._receive("ready", limit_s=start_limit_s)
        self._is_asleep = False
        self.start_s = time.monotonic() - started_s

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it ends, or is ended."""
        return self._process.is_running

    def takes(self, settings: ServerSettings) -> bool:
        """Return True where it decodes what a server of these settings would."""
        own = self.settings
        return (
            self.is_running
            and own.model == settings.model
            and own.max_rank >= settings.max_rank
            and own.max_tokens >= settings.max_tokens
            and own.max_sequences >= settings.max_sequences
        )

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        adapter: Path | None,
        sampling: Sampling | None = None,
        is_complete: Callable[[list[int]], bool] | None = None,
    ) -> list[list[int]]:
        """Return the token ids behind each prompt, in the order of the prompts.

        Args:
            prompts: Token ids.
            max_new_tokens: The most tokens behind a prompt.
            stop_ids: Tokens that end a response, and are returned as its last.
            adapter: Folder of a plain LoRA adapter; None decodes with the base model.
            sampling: Draws tokens, each prompt's from its own seed; None is greedy.
            is_complete: Ends a response whose tokens so far it calls complete.
        """
        self._wake()
        drawn = None
        if sampling is not None:
            options = {"temperature": sampling.temperature, "top_p": sampling.top_p}
            drawn = {"options": options, "seeds": list(sampling.seeds)}
        self._send(
            "generate",
            prompts=[list(prompt) for prompt in prompts],
            max_new_tokens=max_new_tokens,
            stop_ids=list(stop_ids),
            adapter=None if adapter is None else str(adapter),
            sampling=drawn,
        )
        responses: list[list[int]] = [[] for _ in prompts]
        completed: set[int] = set()
        while (message := self._receive("tokens", "done"))["kind"] == "tokens":
            ended = []
            for row, tokens in message["rows"]:
                for token in [] if row in completed else tokens:
                    responses[row].append(token)
                    if is_complete is not None and is_complete(responses[row]):
                        completed.add(row)
                        ended.append(row)
                        break
            if ended:
                self._send("abort", rows=ended)
        return responses

    def probe(self, prompt: Sequence[int], adapter: Path) -> Probed:
        """Return the likeliest tokens behind a prompt, without and with an adapter."""
        self._wake()
        self._send("probe", prompt=list(prompt), adapter=str(adapter))
        found = self._receive("probed")
        return Probed(*(dict(map(tuple, found[name])) for name in ("base", "adapted")))

    def sleep(self) -> None:
        """Give a GPU's memory back but for a little; on a CPU, nothing."""
        if self.settings.gpu is not None and not self._is_asleep:
            self._send("sleep")
            self._receive("done")
            self._is_asleep = True

    def memory_bytes(self) -> int:
        """Return the memory of the machine that it holds."""
        return self._process.memory_bytes()

    def close(self) -> None:
        """End it, with all that it has started."""
        self._process.close()

    def _wake(self) -> None:
        if self._is_asleep:
            self._send("wake")
            self._receive("done")
            self._is_asleep = False

    def _send(self, kind: str, **content: Any) -> None:
        if not self.is_running:
            raise ServerError("vLLM has ended")
        self._process.send({"kind": kind, **content}, self._limit_s)

    def _receive(self, *kinds: str, limit_s: float | None = None) -> dict[str, Any]:
        message = self._process.receive(limit_s or self._limit_s)
        if message["kind"] == "error":
            if message["has_ended"]:
                self._process.close()
            raise ServerError(message["reason"])
        if message["kind"] not in kinds:
            self._process.close(grace_s=0.0)
            raise ServerError(f"vLLM answered {message['kind']} in place of {kinds[0]}")
        return message
