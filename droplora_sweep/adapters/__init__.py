"""DropLoRA and the methods it is compared with, as PEFT extensions; `sizes` needs no torch."""
