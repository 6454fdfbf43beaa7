"""What a model card says of how its files are loaded, for each form that they may have."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from droplora_sweep.spec import ModelSpec


class Form(StrEnum):
    """What the files beside a card are."""

    ADAPTER = "adapter"
    """As the trial left them: an adapter, or the whole model of a trial without one."""
    WHOLE = "whole"
    """A whole model that was trained."""
    MERGED = "merged"
    """The base model with the adapter's update in its weights."""
    GGUF = "gguf"
    """A LoRA adapter as llama.cpp's ``convert_lora_to_gguf.py`` reads it."""


_ADAPTER = """\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base!r}{revision}, dtype="{dtype}")
model = PeftModel.from_pretrained(base, "path/of/this/folder"{precision})
```"""

_WHOLE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder", dtype="{dtype}")
tokenizer = AutoTokenizer.from_pretrained({base!r}{revision})
```"""

_MERGED = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder", dtype="{dtype}")
tokenizer = AutoTokenizer.from_pretrained("path/of/this/folder")
```"""

_GGUF = """\
`adapter_model.safetensors` and `adapter_config.json` are what llama.cpp's converter reads; `base`
has the configuration and the tokenizer of the base model, without its weights. The converter comes
with llama.cpp's sources; it was not run to make this folder.

```bash
python convert_lora_to_gguf.py --base path/of/this/folder/base path/of/this/folder
llama-cli --model the-base-model.gguf --lora the-file-it-wrote.gguf
```"""

_SNIPPETS = {Form.ADAPTER: _ADAPTER, Form.WHOLE: _WHOLE, Form.MERGED: _MERGED, Form.GGUF: _GGUF}


def loading_text(form: Form, model: ModelSpec) -> str:
    """How to load files of this form, as Markdown."""
    return _SNIPPETS[form].format(
        base=model.path,
        revision=f", revision={model.revision!r}" if model.revision else "",
        dtype=model.dtype,
        # PEFT would load a bfloat16 adapter in float32, and its scores would differ.
        precision="" if model.dtype == "float32" else ", autocast_adapter_dtype=False",
    )
