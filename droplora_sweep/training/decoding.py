"""Decoding of a trial's evaluations: by the model that is trained, or by vLLM beside it."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from droplora_sweep.adapters.export import WEIGHTS_FILE
from droplora_sweep.adapters.tensor_files import write_tensors
from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.context import are_options_scored, model_context
from droplora_sweep.evaluation.evaluator import eos_ids_of, transformers_generator
from droplora_sweep.evaluation.serving.backend import backend_problem, saved_rank
from droplora_sweep.evaluation.serving.client import ServerSettings, VllmServer, engine_rank
from droplora_sweep.evaluation.serving.environment import environment_problem
from droplora_sweep.evaluation.serving.process import ServerError
from droplora_sweep.evaluation.serving.vllm_generator import VllmGenerator
from droplora_sweep.models.resolving import resolve_model
from droplora_sweep.spec.metric_names import VLLM_AGREEMENT, VLLM_SHARE

from .device import available_memory_bytes, gather_to_first, release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.prompting import Prompts
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.tasks.task import Task

logger = logging.getLogger(__name__)

MAX_FAILURES = 2
"""Failures of its vLLM after which a worker tries no more; each ends vLLM for its trial."""
PROBE_TEXT = "Question: which of these is right? Answer:"
PROBE_STD = 0.02
"""Of the numbers of B in the adapter that a server is tried with: an untrained B is zero."""


@dataclass(frozen=True)
class Decoded:
    """A model whose evaluation is decoded.

    Attributes:
        spec: The trial.
        model: Its model, which decodes where vLLM cannot.
        prompts: How the model is asked.
        task: What it is asked.
        longest: Tokens of the longest prompt with its response, as far as it is known.
        save: Writes the files of its adapter into a folder; None where the base model decodes.
    """

    spec: TrialSpec
    model: nn.Module
    prompts: Prompts
    task: Task
    longest: int
    save: Callable[[Path], None] | None

    @property
    def is_decoded(self) -> bool:
        """True unless the options of every benchmark are scored."""
        evaluation = self.spec.evaluation
        return not all(are_options_scored(one, evaluation) for one in self.task.benchmarks)


class Decoding:
    """Keeps a vLLM server beside this worker, where trials decode with it.

    The server is started, and tried with an adapter, before the first trial is trained. While a
    trial trains it sleeps on a GPU; on a CPU it stays if its memory can be spared. One that fails
    is ended, and transformers decodes in its place until the trial is over.

    Args:
        tokenizer: The model's.
        device: This worker's.
        gpu_share: Share of that GPU's memory that is this worker's.
        on_wait: Called about once a second while the server is waited for.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device,
        *,
        gpu_share: float = 1.0,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._tokenizer = tokenizer
        self._device = device
        self._gpu_share = gpu_share
        self._on_wait = on_wait
        self._server: VllmServer | None = None
        self._is_tried = False
        self._failure: str | None = None
        self._num_failures = 0
        self._last_failure = ""

    def uses_vllm(self, spec: TrialSpec) -> bool:
        """Return True where vLLM decodes this trial.

        Raises:
            InputError: ``evaluation.backend`` asks for it, and it cannot.
        """
        if spec.evaluation.backend != "vllm":
            return False
        problem = backend_problem(
            spec.evaluation,
            spec.model,
            spec.adapter,
            missing=environment_problem(),
            on_gpu=self._device.type == "cuda",
        )
        if problem is not None:
            raise InputError.of("evaluation.backend", problem)
        return True

    def prepare(self, what: Decoded) -> None:
        """Start the server and try it, before anything is trained; it then sleeps."""
        if not self.uses_vllm(what.spec) or not what.is_decoded:
            return
        self._failure = None
        if self._num_failures >= MAX_FAILURES:
            times = f"vLLM failed {self._num_failures} times here, and is not tried again"
            self._failure = f"{times}: {self._last_failure}"
            return
        try:
            self._server_for(what, what.longest)
            self._rest()
        except ServerError as error:
            logger.warning("transformers decodes in vLLM's place: %s", error)
            self._note_failure(str(error))

    @contextlib.contextmanager
    def generator(self, what: Decoded) -> Iterator[VllmGenerator | None]:
        """Yield what decodes with the adapter as it is now; None means the model itself."""
        if not self.uses_vllm(what.spec) or not what.is_decoded:
            yield None
            return
        eos_ids = eos_ids_of(what.model, self._tokenizer, what.prompts)
        fallback = transformers_generator(
            what.model, self._tokenizer, eos_ids, what.spec.evaluation
        )
        with tempfile.TemporaryDirectory(prefix="droplora-adapter-") as folder:
            adapter = None
            if what.save is not None and self._failure is None:
                adapter = Path(folder)
                what.save(adapter)
            generator = VllmGenerator(
                server_for=lambda num_tokens: self._server_for(what, num_tokens),
                fallback=fallback,
                adapter=adapter,
                failure=self._failure,
            )
            # What training left in the allocator's hands is vLLM's now.
            release(self._device)
            try:
                yield generator
            finally:
                self._settle(generator)

    def metrics(self, generator: VllmGenerator | None) -> dict[str, float]:
        """Return who has decoded, over all ranks, on rank 0; a collective where vLLM is asked."""
        if generator is None:
            return {}
        counts = (
            generator.num_by_vllm,
            generator.num_by_fallback,
            generator.num_likeliest,
            generator.num_compared,
        )
        gathered = gather_to_first(counts)
        if gathered is None:
            return {}
        by_vllm, by_fallback, likeliest, compared = map(sum, zip(*gathered, strict=True))
        found = {}
        if by_vllm + by_fallback:
            found[VLLM_SHARE] = by_vllm / (by_vllm + by_fallback)
        if compared:
            found[VLLM_AGREEMENT] = likeliest / compared
        return found

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()
        self._server = None
        self._is_tried = False

    def _server_for(self, what: Decoded, num_tokens: int) -> VllmServer:
        """Return the server, started anew where it is gone or a trial needs more of it.

        Raises:
            ServerError: It does not start, or takes no adapter.
        """
        settings = self._settings(what, num_tokens)
        server = self._server
        if server is None or not server.takes(settings):
            # The old one's memory is free before the new one asks for it.
            self.close()
            release(self._device)
            self._server = server = VllmServer(settings, on_wait=self._on_wait)
            logger.info("vLLM started beside this worker in %.0f s", server.start_s)
        if what.save is not None and not self._is_tried:
            with tempfile.TemporaryDirectory(prefix="droplora-adapter-") as folder:
                what.save(Path(folder))
                make_probe(Path(folder), what.spec.seed)
                prompt = self._tokenizer(PROBE_TEXT)["input_ids"]
                if not server.probe(prompt, Path(folder)).has_changed():
                    raise ServerError("vLLM takes the adapter, and answers as without one")
            self._is_tried = True
        return server

    def _settings(self, what: Decoded, num_tokens: int) -> ServerSettings:
        spec = what.spec
        # The next power of two, so that longer prompts seldom need another server.
        max_tokens = 1 << (num_tokens - 1).bit_length()
        context = model_context(what.model)
        max_tokens = max_tokens if context is None else min(max_tokens, context)
        max_rank = engine_rank(saved_rank(spec.adapter))
        max_sequences = spec.evaluation.batch_size
        if self._server is not None:
            # Trials take turns: what one needed, another will need again.
            before = self._server.settings
            max_rank = max(max_rank, before.max_rank)
            max_tokens = max(max_tokens, before.max_tokens)
            max_sequences = max(max_sequences, before.max_sequences)
        return ServerSettings(
            model=resolve_model(spec.model),
            dtype=spec.model.dtype,
            max_rank=max_rank,
            max_tokens=max_tokens,
            max_sequences=max_sequences,
            trust_remote_code=spec.model.trust_remote_code,
            gpu=visible_name(self._device),
            memory_share=spec.evaluation.vllm_memory_share * self._gpu_share,
            kv_cache_bytes=kv_cache_bytes(what.model, max_sequences, max_tokens),
            threads=torch.get_num_threads(),
        )

    def _settle(self, generator: VllmGenerator) -> None:
        """Let the server rest after an evaluation, or end it where it has failed."""
        if self._failure is not None:
            return
        failure = generator.failure
        if failure is None:
            try:
                self._rest()
            except ServerError as error:
                logger.warning("vLLM is ended, since it does not fall asleep: %s", error)
                failure = str(error)
        if failure is not None:
            self._note_failure(failure)

    def _rest(self) -> None:
        """Have the server take little while the trial trains.

        Raises:
            ServerError: It does not fall asleep.
        """
        server = self._server
        if server is None:
            return
        server.sleep()
        if self._device.type == "cpu" and available_memory_bytes() < server.memory_bytes():
            logger.info("vLLM is ended until it is needed: this machine's memory is scarce")
            self.close()

    def _note_failure(self, reason: str) -> None:
        self.close()
        self._failure = self._last_failure = reason
        self._num_failures += 1


def visible_name(device: torch.device) -> str | None:
    """Return the name by which another process sees this GPU alone; None for the CPU."""
    if device.type != "cuda":
        return None
    index = device.index or 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index] if visible else str(index)


BLOCK_TOKENS = 128
"""Tokens of a block of vLLM's KV cache on CPUs; a sequence has whole blocks."""
MIN_CACHE_BYTES = 1 << 26


def kv_cache_bytes(model: nn.Module, num_sequences: int, num_tokens: int) -> int:
    """Return the bytes of keys and values of so many sequences of so many tokens each."""
    config: Any = model.config
    config = getattr(config, "text_config", None) or config
    num_heads = config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    num_kv_heads = getattr(config, "num_key_value_heads", None) or num_heads
    number_bytes = next(model.parameters()).dtype.itemsize
    per_token = 2 * number_bytes * config.num_hidden_layers * num_kv_heads * head_width
    num_blocks = -(-num_tokens // BLOCK_TOKENS) * num_sequences
    return max(MIN_CACHE_BYTES, num_blocks * BLOCK_TOKENS * per_token)


def make_probe(folder: Path, seed: int) -> None:
    """Make an adapter another one of the same shapes, which changes what the model computes.

    Args:
        folder: Has an adapter's files, be it trained or not.
        seed: Seed of the numbers that take B's place.
    """
    path = folder / WEIGHTS_FILE
    draws = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(weight.shape, generator=draws).mul(PROBE_STD).to(weight.dtype)
        if "lora_B" in name or "lora_embedding_B" in name
        else weight
        for name, weight in load_file(path).items()
    }
    # Those that stay are read from the file while it is written.
    probe = path.with_suffix(".probe")
    write_tensors(probe, weights)
    probe.replace(path)
