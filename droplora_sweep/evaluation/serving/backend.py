"""Choice of the backend that decodes, and the reasons against vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from droplora_sweep.spec import AdapterSpec, EvaluationSpec, ModelSpec

MAX_RANK = 512
"""The highest rank that vLLM takes."""


def saved_rank(adapter: AdapterSpec) -> int:
    """Return the highest rank of the adapter's files: PiSSA and MiLoRA are saved at twice it."""
    return adapter.max_rank * method_of(adapter.method).saved_rank


def vllm_problem(
    model: ModelSpec, adapter: AdapterSpec, *, missing: str | None, on_gpu: bool
) -> str | None:
    """Return why vLLM cannot decode for a trial, as ``must be ... got`` of its field, or None.

    Args:
        model: The base model.
        adapter: Adapter that is trained on it.
        missing: Reason why there is no vLLM on the machine that would decode; None where there is.
        on_gpu: True where it would decode on a GPU.
    """
    reason = missing
    method = method_of(adapter.method)
    if reason is not None:
        pass
    elif on_gpu and model.dtype != "bfloat16":
        reason = "vLLM's LoRA kernels on GPUs take bfloat16, and the base model is in "
        reason += model.dtype
    elif model.quantization != "none":
        reason = f"the base model is held in {model.quantization.removesuffix('bit')} bits"
    elif not method.has_rank:
        reason = "full fine-tuning changes the model that vLLM would have to load anew"
    elif method.extra_tensors:
        reason = f"vLLM loads no adapter of method {adapter.method}, with {method.extra_tensors}"
    elif adapter.modules_to_save:
        reason = "vLLM loads no adapter with whole modules (`adapter.modules_to_save`)"
    elif saved_rank(adapter) > MAX_RANK:
        reason = f"vLLM takes ranks up to {MAX_RANK}, and the adapter is saved at "
        reason += f"{saved_rank(adapter)}"
    return None if reason is None else f"must be transformers or auto, got vllm: {reason}"


def backend_problem(
    evaluation: EvaluationSpec,
    model: ModelSpec,
    adapter: AdapterSpec,
    *,
    missing: str | None,
    on_gpu: bool,
) -> str | None:
    """Return what is wrong with the backend that a trial asks for; None where nothing is.

    Transformers decodes anything; see `vllm_problem` for the rest.
    """
    if evaluation.backend != "vllm":
        return None
    return vllm_problem(model, adapter, missing=missing, on_gpu=on_gpu)


def sampling_problem(evaluation: EvaluationSpec, *, on_gpu: bool) -> str | None:
    """Return what is wrong with samples by vLLM; None where nothing is.

    The CPU build of vLLM 0.32 cannot draw from a seed; workers would let transformers decode.
    """
    if evaluation.backend != "vllm" or evaluation.sampling is None or on_gpu:
        return None
    reason = "on CPUs vLLM draws no samples from seeds (`evaluation.sampling`)"
    return f"must be transformers or auto, got vllm: {reason}"
