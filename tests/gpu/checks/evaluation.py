"""Evaluation on the device: its pace, its answers, and those of the CPU.

Answers are compared with the built-in model in float32, where two tokens are as good as never
equally likely: a difference is then one of the computation, not of rounding.
"""

from __future__ import annotations

import time
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import torch

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.generation import TransformersGenerator, only_read
from droplora_sweep.evaluation.prompting import prompts_of
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.plan.costs.memory import weight_bytes
from droplora_sweep.spec.trial import ModelSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.device import release, set_kernels
from droplora_sweep.training.loop import response_loss
from tests.gpu.case import Case
from tests.gpu.roofline import Launches, bound_s, measured_paces, wait
from tests.gpu.rows import Row, judged, on_gpu_alone, skipped
from tests.gpu.setting import builtin_trial, last_metrics, runner
from tests.saved_files import scores_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gpu.setting import Setting

CHECK: Final = "evaluation"
FLOOR: Final = 0.03
"""Least share of the roofline at which one prompt is decoded: between the launches of a token are
Python's own calls of every module, an adapter's among them, several times as long."""
BATCHED: Final = 2.0
"""Most time that a token of many prompts takes, over that of one: weights are read once for all."""
GAP: Final = 1e-3
"""Nats by which a token has to be more likely than another for their order to be no rounding."""
LOGS: Final = 1e-3
"""Most difference of an option's log-probability in nats, CPU and device, in float32."""
ATTENTION: Final = 0.03
"""Most mean difference of log-probabilities in nats between kernels of attention in bfloat16, whose
numbers have 8 bits."""


def cases(setting: Setting) -> Iterator[Case]:
    yield Case("pace", partial(pace, setting))
    yield Case("greedy", partial(greedy, setting))
    yield Case("options", partial(options, setting))
    yield Case("saved", partial(saved, setting))
    for attention in ("eager", "flash_attention_2"):
        yield Case(attention, partial(kernels, setting, attention))


def pace(setting: Setting) -> Iterator[Row]:
    """Time decoding of one prompt and of many, with an adapter, against what has to be read."""
    device, spec = setting.torch_device, setting.trial()
    paces = measured_paces(setting)
    base = load_base_model(spec.model, device)
    adapted = attach(base, spec.adapter, 1)
    tokenizer, number = load_tokenizer(spec.model), setting.size.decoded_together
    one, together = (
        token_seconds(setting, adapted.model, tokenizer, together) for together in (1, number)
    )
    with Launches() as counter, only_read(adapted.model):
        adapted.model(input_ids=torch.full((1, 1), 5, device=device), use_cache=True)
    num_bytes = weight_bytes(setting.summary.shapes, spec.model.dtype)
    bound = bound_s(paces, flops=0, num_bytes=num_bytes, num_launches=counter.count)
    note = (
        f"{one * 1e3:.2f} ms a token, bound {bound * 1e3:.2f}; {1 / one:,.0f} tokens/s, "
        f"{counter.count} operations"
    )
    found = judged(CHECK, "one prompt", bound / one, "of the roofline", low=FLOOR, note=note)
    yield on_gpu_alone(found, setting.device, "a roofline is judged")
    note = f"{together * 1e3:.2f} ms for a token of each; {number / together:,.0f} tokens/s"
    found = judged(
        CHECK, f"token of {number} prompts", together / one, "of one", high=BATCHED, note=note
    )
    yield on_gpu_alone(found, setting.device, "a batch is judged")
    adapted.detach()
    release(device)


def token_seconds(setting: Setting, model: Any, tokenizer: Any, number: int) -> float:
    """Return the seconds in which each of some prompts gets a further token."""
    # No token ends a response, so that all are of full length.
    generator = TransformersGenerator(model, tokenizer, frozenset([NO_TOKEN]), number)
    prompts = [[5 + index, *range(10, 42)] for index in range(number)]

    def decode(num_tokens: int) -> float:
        started_s = time.perf_counter()
        with only_read(model):
            found = generator.generate(prompts, max_new_tokens=num_tokens)
        wait(setting.torch_device)
        assert {len(one) for one in found} == {num_tokens}, "no response ends early"
        return time.perf_counter() - started_s

    few, many = 2, setting.size.num_decoded
    decode(few)
    # What the prompts themselves take is in both.
    return median((decode(many) - decode(few)) / (many - few) for _ in range(3))


NO_TOKEN: Final = 1_000_000
"""Token that no model here has, and so none decodes."""


def greedy(setting: Setting) -> Iterator[Row]:
    """Compare what a KV cache decodes with one pass over all of it, which has none."""
    device = setting.torch_device
    spec = builtin_trial()
    tokenizer, task = load_tokenizer(spec.model), load_task(spec.task)
    model = load_base_model(spec.model, device)
    prompts = prompts_of(tokenizer, task)
    texts = [
        prompts.text(benchmark, example)
        for benchmark in task.benchmarks
        for example in benchmark.examples("validation")
    ]
    rows = prompts.tokens(texts)
    eos = frozenset([tokenizer.eos_token_id])
    generator = TransformersGenerator(model, tokenizer, eos, batch_size=len(rows))
    with only_read(model):
        responses = generator.generate(rows, max_new_tokens=16)
        wrong = sum(
            not_greedy(model, prompt, response, device)
            for prompt, response in zip(rows, responses, strict=True)
        )
    number = sum(map(len, responses))
    yield judged(
        CHECK,
        "tokens that are not the most likely",
        wrong,
        high=0,
        note=f"of {number} in {len(rows)} prompts of unequal lengths",
    )


def not_greedy(model: Any, prompt: Any, response: Any, device: torch.device) -> int:
    """Count the tokens of a response that are less likely than others by more than ``GAP``."""
    tokens = torch.tensor([[*prompt, *response]], device=device)
    logits = model(input_ids=tokens, use_cache=False).logits[0].float()
    before = logits[len(prompt) - 1 : -1].log_softmax(-1)
    said = torch.tensor(response, device=device)[:, None]
    gaps = before.amax(-1) - before.gather(-1, said)[:, 0]
    return int((gaps > GAP).sum())


def options(setting: Setting) -> Iterator[Row]:
    """Score options on the device and on the CPU, in float32."""
    spec = builtin_trial(evaluation={"choice": "score"})
    tokenizer, task = load_tokenizer(spec.model), load_task(spec.task).only(["builtin_choice"])
    set_kernels("seeded")
    found = [
        evaluate(load_base_model(spec.model, device), tokenizer, task, spec.evaluation)
        for device in (torch.device("cpu"), setting.torch_device)
    ]
    pairs = list(zip(*found, strict=True))
    others = sum(one.response != other.response for one, other in pairs)
    yield judged(CHECK, "other options than the CPU's", others, high=0, note=f"of {len(pairs)}")
    logs = [(one.log_probability, other.log_probability) for one, other in pairs]
    assert all(one is not None and other is not None for one, other in logs), "options are scored"
    apart = max(abs(one - other) for one, other in logs)
    yield judged(CHECK, "options' log-probabilities, CPU", apart, "nats", high=LOGS)


def saved(setting: Setting) -> Iterator[Row]:
    """Score what a trial left as its users load it: answers are those of the trial's own report."""
    spec = builtin_trial()
    resident = runner(setting)
    folder = setting.folder / "left"
    folder.mkdir(exist_ok=True)
    metrics = last_metrics(resident, spec, into=folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    results = scores_of(resident, spec, "validation", files)
    scores = [one.score for one in results if one.score is not None]
    apart = abs(sum(scores) / len(scores) - metrics["val/mean"])
    yield judged(CHECK, "score of what was saved", apart, high=1e-9, note="against its report's")


def kernels(setting: Setting, attention: str) -> Iterator[Row]:
    """Compare a kernel of attention with the default one, on training's own batch."""
    if attention == "flash_attention_2" and find_spec("flash_attn") is None:
        yield skipped(CHECK, attention, "flash-attn is not installed")
        return
    device = setting.torch_device
    torch.manual_seed(3)
    tokens = torch.randint(5, 200, (2, setting.size.sequence_tokens)).to(device)
    logs, losses = [], []
    for kind in ("sdpa", attention):
        spec = ModelSpec.model_validate(
            {"path": str(setting.model), "dtype": "bfloat16", "attention": kind}
        )
        model = load_base_model(spec, device)
        with only_read(model):
            logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
        losses.append(float(response_loss(logits, tokens[:, 1:])) / tokens[:, 1:].numel())
        picked = logits.float().log_softmax(-1).gather(-1, tokens[:, 1:, None])
        logs.append(picked.cpu())
        del model, logits, picked
        release(device)
    apart = float((logs[0] - logs[1]).abs().mean())
    note = f"losses {losses[0]:.4f} and {losses[1]:.4f}"
    yield judged(CHECK, f"{attention}, sdpa", apart, "nats", high=ATTENTION, note=note)
