"""Scoring of a trial: when, how, and the model that rates conversations."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from droplora_sweep.scorers.scorer import ProtocolName

from .base import Count, PathText, Positive, SpecModel, broken_rule, variable_name


class JudgeSpec(SpecModel):
    """A judge behind an OpenAI-compatible endpoint; it rates at temperature 0.

    The key itself is never part of a spec, only the place it is read from. Errors do not show what
    was given for the URL and the key's place, as it may be the key.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """Address of the API, e.g. ``https://api.openai.com/v1``; ``/chat/completions`` is added."""
    model: Annotated[str, Field(min_length=1)]
    """The judge, as the endpoint names it (the paper's: GPT-4)."""
    key_env: str | None = None
    """Environment variable that holds the API key; it and ``key_file`` null means no key."""
    key_file: PathText | None = None
    """File that holds the API key, readable by its owner alone."""
    prompts: PathText
    """MT-Bench's ``judge_prompts.jsonl``, or a file like it with the same ``single-`` prompts."""
    cache: str = "~/.cache/droplora-sweep/judge"
    """Folder of the judge's replies by content; workers of one machine and later runs share it."""
    references: PathText | None = None
    """MT-Bench's ``reference_answer/gpt-4.jsonl``; math, reasoning and coding need references."""
    max_requests: Count = 400
    """Requests one evaluation of one trial may send, over all its workers, repeated ones included;
    MT-Bench takes 160 if none fails."""
    max_tokens: Count = 1_000_000
    """Tokens one evaluation of one trial may spend, over all its workers, prompts and replies, as
    the endpoint counts them."""
    timeout_s: Positive = 120.0
    """Seconds from sending a request to the end of its reply."""
    max_attempts: Count = 5
    """Attempts at one request before its rating counts as missing."""
    max_concurrent: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests that are under way at once."""

    def share(self, rank: int, world_size: int) -> JudgeSpec:
        """The judge for one of ``world_size`` workers: its part of the requests and tokens.

        A worker whose part is nothing gets one of each, which is too little to send anything.
        """
        limits = {"max_requests": self.max_requests, "max_tokens": self.max_tokens}
        parts = {
            name: max(1, (limit + world_size - 1 - rank) // world_size)
            for name, limit in limits.items()
        }
        return self.model_copy(update=parts)

    def what_rates(self) -> dict[str, str]:
        """Fields that change ratings, besides the contents of its files."""
        return {"model": self.model}

    @field_validator("url")
    @classmethod
    def _is_plain_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            plain = False
        if not plain or re.search(r"[@?#\s]", url):
            raise broken_rule(
                "must be an http or https address without user, password, query and fragment"
            )
        return url

    @field_validator("key_env")
    @classmethod
    def _is_environment_name(cls, name: str | None) -> str | None:
        return name if name is None else variable_name(name, "the key")

    @model_validator(mode="after")
    def _has_one_key(self) -> JudgeSpec:
        if self.key_env is not None and self.key_file is not None:
            raise broken_rule("must be null where `key_env` is given, got both", "key_file")
        return self


ChoiceMode = Literal["generate", "score"]
"""Way of answering a benchmark with a closed set of answers."""

LongPromptPolicy = Literal["drop", "truncate"]
"""Treatment of a prompt that does not fit; see ``EvaluationSpec.on_long_prompt``."""
Backend = Literal["auto", "transformers", "vllm"]
"""Program that decodes; see ``EvaluationSpec.backend``."""


class SamplingSpec(SpecModel):
    """Several responses to one prompt, for pass@k (arXiv 2107.03374); code benchmarks alone.

    Each response has a random stream of its own, which its example and its number among the
    samples decide: neither batches, nor workers, nor the trial's seed change it, so that trials
    are compared under the same luck.
    """

    num_samples: Annotated[int, Field(ge=2, le=1000)] = 10
    """Responses to each prompt, n."""
    temperature: Positive = 0.8
    """Logits are divided by it before sampling (the source's for many samples)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Only the most likely tokens that together have this probability are drawn (the source's)."""
    pass_at: tuple[Count, ...] = Field(default=(1, 10), min_length=1, strict=False)
    """The k of each ``pass_at_<k>/<benchmark>`` that is reported, at most ``num_samples``."""

    @model_validator(mode="after")
    def _has_enough_samples(self) -> SamplingSpec:
        if max(self.pass_at) > self.num_samples:
            problem = f"must be at most `num_samples`, {self.num_samples}, got {max(self.pass_at)}"
            raise broken_rule(problem, "pass_at")
        return self


class EvaluationSpec(SpecModel):
    """Scoring of a trial on its validation split."""

    split: Literal["validation", "confirmation"] = "validation"
    """Split that scores a trial. The confirmation stage sets it for its runs; in a file it is
    ``validation``, so that the search never meets the confirmation split."""
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
    """Way of answering choices: by decoding, or by scoring the options under the model, which
    gives the option that greedy decoding among the options alone would, at a fraction of the
    time."""
    likelihood: bool = False
    """Measure how likely each example's reference response is, in one forward pass without
    decoding: ``bits_per_byte/val/<benchmark>``, which ``search.metric`` may name. Examples without
    a reference, as those of ``scoring: judge``, have none. It costs as much as reading the prompts
    once more, a third of the built-in tasks' decoding; next to nothing where options are scored
    that differ in one token, since one pass gives both."""
    sampling: SamplingSpec | None = None
    """Draw several responses to each prompt of a code benchmark: its score is then the estimate of
    pass@1; null decodes greedily. Other benchmarks are decoded greedily in any case, and a task
    without a code benchmark is refused."""
    judge: JudgeSpec | None = None
    """Model that rates responses of ``scoring: judge``; a task with such a benchmark needs it."""
    on_long_prompt: LongPromptPolicy = "truncate"
    """Treatment of a prompt that the model's context cannot hold together with its response:
    it loses its beginning, or its example is not scored; counted as ``long_prompts/<benchmark>``.
    Truncating keeps every example in the score, so that it cannot gain by what is left out."""
    held_out_text: PathText | None = None
    """UTF-8 text file of at least 1,000 characters whose perplexity is measured before and after
    training, at each evaluation over all of it: it shows what a trial makes the model forget."""
    static_cache: bool = False
    """Decode with a KV cache of fixed size, which lets ``transformers`` compile the decoding step
    on a GPU, for the price of compiling."""
    backend: Backend = "auto"
    """Program that decodes: ``transformers``, which ``auto`` is too, or ``vllm``, a server process
    beside each worker, in the environment that ``make vllm`` installs or ``DROPLORA_VLLM`` names.
    It takes plain LoRA adapters, and on GPUs base models in ``bfloat16``. Where it fails
    transformers decodes, and the results say so; options are scored by transformers in any
    case."""
    vllm_memory_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the worker's GPU memory that vLLM may use for weights and KV cache while it decodes;
    it sleeps while a trial trains. On a CPU it takes what it needs."""
    allow_unsandboxed_code: bool = False
    """Run code answers without a sandbox where this machine offers none, instead of refusing."""

    def canonical(self) -> dict[str, Any]:
        """Its fields as JSON that change a trial's result: of a judge, what rates.

        Where no likelihood is measured that is left out, as it was when none could be.
        """
        judge = None if self.judge is None else self.judge.what_rates()
        unused = set() if self.likelihood else {"likelihood"}
        return self.model_dump(mode="json", exclude=unused) | {"judge": judge}
