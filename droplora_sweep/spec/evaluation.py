"""When and how a trial is scored."""

from __future__ import annotations

from typing import Literal

from .base import Count, SpecModel

ProtocolName = Literal["paper", "strict"]
"""How a response is read; ``EvaluationSpec.protocol`` says what each does."""
ChoiceMode = Literal["generate", "score"]
"""How a benchmark with a closed set of answers is answered."""


class EvaluationSpec(SpecModel):
    """When and how a trial is scored on its validation split."""

    num_evaluations: Count = 3
    """Evaluations per trial, evenly spaced, the last at the end; early stopping acts on them."""
    batch_size: Count = 32
    """Prompts decoded together on one worker, at most."""
    max_batch_tokens: Count | None = None
    """Tokens of a decoding batch, prompts and new tokens with padding; null: no such limit."""
    max_new_tokens: Count = 256
    """Greedy decoding ends at EOS or after this many tokens (the paper allows 2,048)."""
    protocol: ProtocolName = "paper"
    """``paper`` reads responses as the released code does, defects included (arXiv 2508.17337);
    ``strict`` has math-verify compare numbers and LaTeX, and takes only whole responses for
    choices."""
    choice: ChoiceMode = "generate"
    """How choices are answered: by decoding, or by scoring the options under the model, which
    gives the option that greedy decoding among the options alone would, at a fraction of the
    time."""
    allow_unsandboxed_code: bool = False
    """Run code answers without a sandbox where this machine offers none, instead of refusing."""
