"""Choice of the backend that decodes, and the reasons against vLLM."""

from __future__ import annotations

from importlib import util
from typing import TYPE_CHECKING, Literal

from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from droplora_sweep.spec import AdapterSpec, EvaluationSpec, ModelSpec

MAX_RANK = 512
"""The highest rank that vLLM takes."""


def has_vllm() -> bool:
    """Return True if vLLM is installed; it is not imported."""
    return util.find_spec("vllm") is not None


def saved_rank(adapter: AdapterSpec) -> int:
    """Return the highest rank of the adapter's files: PiSSA and MiLoRA are saved at twice it."""
    return adapter.max_rank * method_of(adapter.method).saved_rank


def vllm_problem(
    evaluation: EvaluationSpec,
    model: ModelSpec,
    adapter: AdapterSpec | None,
    *,
    is_installed: bool,
    has_gpu: bool,
) -> str | None:
    """Why vLLM cannot decode for this trial, as ``must be ... got`` of its field; None if it can.

    Args:
        evaluation: Settings of the evaluation.
        model: The base model.
        adapter: Adapter that is trained on it; None decodes with the base model itself.
        is_installed: True where vLLM is installed on the machine that would decode.
        has_gpu: True where there is a GPU for it.
    """
    reason = None
    if not is_installed:
        reason = "vLLM is not installed (pip install vllm)"
    elif not has_gpu:
        reason = "there is no GPU"
    elif evaluation.sampling is not None:
        reason = "samples have random streams of their own, which transformers draws"
    elif model.dtype != "bfloat16":
        reason = f"vLLM's LoRA kernels take bfloat16, and the base model is in {model.dtype}"
    elif model.quantization != "none":
        reason = f"the base model is held in {model.quantization.removesuffix('bit')} bits"
    elif adapter is not None and not method_of(adapter.method).has_rank:
        reason = "full fine-tuning changes the model that vLLM would have to load anew"
    elif adapter is not None and method_of(adapter.method).extra_tensors:
        reason = f"vLLM loads no adapter of method {adapter.method}"
    elif adapter is not None and adapter.modules_to_save:
        reason = "vLLM loads no adapter with whole modules (`adapter.modules_to_save`)"
    elif adapter is not None and saved_rank(adapter) > MAX_RANK:
        reason = f"vLLM takes ranks up to {MAX_RANK}, and the adapter is saved at "
        reason += f"{saved_rank(adapter)}"
    return None if reason is None else f"must be transformers or auto, got vllm: {reason}"


def choose_backend(
    evaluation: EvaluationSpec,
    model: ModelSpec,
    adapter: AdapterSpec | None,
    *,
    is_installed: bool,
    has_gpu: bool,
) -> tuple[Literal["transformers", "vllm"], str | None]:
    """The backend, and what is wrong with it: None unless ``vllm`` was asked for and cannot be."""
    if evaluation.backend != "vllm":
        return "transformers", None
    problem = vllm_problem(evaluation, model, adapter, is_installed=is_installed, has_gpu=has_gpu)
    return "vllm", problem
