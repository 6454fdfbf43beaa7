"""Decoding of a trial's evaluations: by the model that is trained, or by vLLM beside it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.backend import choose_backend, has_vllm, saved_rank
from droplora_sweep.evaluation.evaluator import eos_ids_of
from droplora_sweep.evaluation.vllm_generator import VllmEngine, VllmGenerator, engine_rank
from droplora_sweep.models.resolving import resolve_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.adapters.adapted import Adapted
    from droplora_sweep.evaluation.generation import Generator
    from droplora_sweep.evaluation.prompting import Prompts
    from droplora_sweep.spec.trial import TrialSpec


class Decoding:
    """Keeps one vLLM engine on this worker's GPU, where trials decode with it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> None:
        self._tokenizer = tokenizer
        self._device = device
        self._engine: VllmEngine | None = None

    def uses_vllm(self, spec: TrialSpec) -> bool:
        """Return True where vLLM decodes this trial.

        Raises:
            InputError: ``evaluation.backend`` asks for it, and it cannot.
        """
        backend, problem = choose_backend(
            spec.evaluation,
            spec.model,
            spec.adapter,
            is_installed=has_vllm(),
            has_gpu=self._device.type == "cuda",
        )
        if problem is not None:
            raise InputError.of("evaluation.backend", problem)
        return backend == "vllm"

    @contextlib.contextmanager
    def generator(
        self, spec: TrialSpec, adapted: Adapted, prompts: Prompts, longest: int
    ) -> Iterator[Generator | None]:
        """Yield what decodes with the adapter as it is now; None means the model itself.

        Args:
            spec: The trial.
            adapted: Its model.
            prompts: How the model is asked.
            longest: Tokens of the longest prompt with its response.
        """
        if not self.uses_vllm(spec):
            yield None
            return
        engine = self._engine_for(spec, longest)
        with tempfile.TemporaryDirectory(prefix="droplora-adapter-") as folder:
            for name, content in adapted.files(spec).items():
                (Path(folder) / name).write_bytes(content)
            eos_ids = eos_ids_of(adapted.model, self._tokenizer, prompts)
            yield VllmGenerator(engine, self._tokenizer, eos_ids, Path(folder))

    def _engine_for(self, spec: TrialSpec, longest: int) -> VllmEngine:
        """Return the engine, made anew where a trial needs a higher rank or longer prompts."""
        rank = engine_rank(saved_rank(spec.adapter))
        engine = self._engine
        if engine is None or engine.max_rank < rank or engine.max_tokens < longest:
            # The old one's memory is free before the new one asks for it.
            self._engine = engine = None
            self._engine = engine = VllmEngine(
                resolve_model(spec.model),
                spec.model.dtype,
                max_rank=rank,
                max_tokens=longest,
                memory_share=spec.evaluation.vllm_memory_share,
            )
        return engine
