"""LoRA-FA (arXiv 2308.03303) as a method of droplora-sweep; imports no torch."""

from droplora_sweep.spec.methods import Method, num_in_lora


def num_in_b(rank: int, num_out: int, num_in: int) -> int:
    """Return the size of B (out, rank), which alone is trained."""
    return rank * num_out


def lora_fa() -> Method:
    """Return what droplora-sweep needs to know of the method."""
    return Method(
        name="lora_fa",
        title="LoRA-FA",
        attached_by="lora_fa.adapter:LoraFa",
        num_trained=num_in_b,
        num_saved=num_in_lora,
    )
