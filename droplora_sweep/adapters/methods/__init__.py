"""The methods that are more than options of PEFT's LoRA, one module each; see `spec.methods`."""
