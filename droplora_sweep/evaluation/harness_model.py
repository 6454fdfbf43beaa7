"""A model under evaluation as lm-evaluation-harness asks models: likelihoods and continuations.

Requests become the tokens that the library's own model for transformers (``HFLM``) makes of them,
so that both give the same scores of one model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from droplora_sweep.scorers.scorer import ScoringError, StopRule

from .context import model_context
from .encoding import Encoded
from .generation import decode_response
from .shared_prompts import shared_prompt_likelihoods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .answering import Answerer

MAX_LENGTH: Final = 2048
"""Context of a model whose config names none (the library's)."""
MAX_NEW_TOKENS: Final = 256
"""Tokens of a response where its task sets no limit (the library's)."""


class HarnessModel(TemplateLM):
    """The library's view of a model that is evaluated.

    Args:
        answerer: The model, its tokenizer and what decodes; the model is in eval mode.
    """

    def __init__(self, answerer: Answerer) -> None:
        super().__init__()
        self._answerer = answerer
        self.tokenizer: Any = answerer.tokenizer

    @property
    def eot_token_id(self) -> int:
        """Token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Token before a text that has no context."""
        bos_id = self.tokenizer.bos_token_id
        return self.eot_token_id if bos_id is None else int(bos_id)

    @property
    def max_length(self) -> int:
        """The most tokens that the model reads."""
        return model_context(self._answerer.model) or MAX_LENGTH

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Return a text's tokens, with the tokenizer's special ones unless the text has them."""
        del kwargs
        if add_special_tokens is None:
            start = self.tokenizer.decode(self.prefix_token_id)
            add_special_tokens = not has_bos_prefix(string, start)
        return list(self.tokenizer.encode(string, add_special_tokens=add_special_tokens))

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        del kwargs
        spec = self._answerer.spec
        return shared_prompt_likelihoods(
            self._answerer.model,
            [self._encoded(context, continuation) for _, context, continuation in requests],
            pad_id=self.eot_token_id,
            batch_size=spec.batch_size,
            max_batch_tokens=spec.max_batch_tokens,
            num_words=len(self.tokenizer),
            context=self.max_length,
        )

    def _encoded(self, context: list[int], continuation: list[int]) -> Encoded:
        """Return a pair as one sequence, without the beginning that the model cannot read."""
        tokens = [*context, *continuation][-(self.max_length + 1) :]
        return Encoded(np.array(tokens, np.int32), len(tokens) - len(continuation))

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of each whole text, in windows that overlap by one token."""
        del disable_tqdm
        windows: list[tuple[Any, list[int], list[int]]] = []
        owners: list[int] = []
        for index, request in enumerate(requests):
            [text] = request.args
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                context, continuation = make_disjoint_window(window)
                windows.append((None, context, continuation))
                owners.append(index)
        totals = [0.0] * len(requests)
        for index, (total, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[index] += total
        return totals

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Return each context's greedy continuation up to its stop sequences.

        Raises:
            ScoringError: The task asks for drawn responses.
        """
        del disable_tqdm
        responses: dict[int, str] = {}
        groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for index, request in enumerate(requests):
            options = dict(normalize_gen_kwargs(request.args[1], MAX_NEW_TOKENS))
            if options.get("do_sample"):
                raise ScoringError(
                    "the task must decode greedily, got do_sample: true in its generation_kwargs"
                )
            end = decode_response(self.tokenizer, [self.eot_token_id])
            until = handle_stop_sequences(options["until"], eos=end or None)
            groups.setdefault((options["max_gen_toks"], tuple(until)), []).append(index)
        for (max_new_tokens, until), members in groups.items():
            contexts = [str(requests[index].args[0]) for index in members]
            decoded = self._decode(contexts, max_new_tokens, until)
            responses.update(zip(members, decoded, strict=True))
        return [responses[index] for index in range(len(requests))]

    def _decode(
        self, contexts: Sequence[str], max_new_tokens: int, until: Sequence[str]
    ) -> list[str]:
        room = self.max_length - max_new_tokens
        if room < 1:
            raise ScoringError(
                f"the task must leave room for a prompt in {self.max_length} tokens, the model's "
                f"context, got responses of up to {max_new_tokens}"
            )
        stops = tuple(one for one in until if one)
        decoded = self._answerer.generator.generate(
            [self.tok_encode(context)[-room:] for context in contexts],
            max_new_tokens=max_new_tokens,
            stop=StopRule(lambda text: any(one in text for one in stops), endings=stops)
            if stops
            else None,
        )
        return [
            postprocess_generated_text(
                decode_response(self.tokenizer, tokens, self._answerer.eos_ids),
                list(stops),
                None,
            )
            for tokens in decoded
        ]
