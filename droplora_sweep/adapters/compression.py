"""Truncation of a trained adapter to a lower rank: the best approximation of its update.

The update of a layer is ``dW = s B A`` with B of shape (out, r), A of shape (r, in) and PEFT's
scaling s; it is never formed. With ``B = Q_B R_B`` and ``A^T = Q_A R_A`` (QR), the SVD of the small
core ``R_B R_A^T = U S V^T`` is that of ``B A``: its first k values give the best approximation of
rank k in the Frobenius norm (Eckart and Young 1936), ``B' = Q_B U_k sqrt(S_k)`` and
``A' = sqrt(S_k) V_k^T Q_A^T``. To train at a high rank and compress after it is the idea of
LoRA-Squeeze (arXiv 2602.10993).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from peft.utils.other import get_pattern_key
from safetensors.torch import load, save

from droplora_sweep.errors import InputError
from droplora_sweep.records.layout import MODEL_CARD

from .export import CONFIG_FILE, SETTINGS_FILE, WEIGHTS_FILE, json_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FACTOR = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<factor>[AB])\.weight")
# Each makes the file's B and A something else than the factors of a linear layer's update.
_OTHER_UPDATES = ("use_qalora", "use_bdlora", "target_parameters", "monteclora_config")


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """One layer's update, factored; q_out = min(out, r), q_in = min(in, r).

    Attributes:
        name: Name of the layer in the base model.
        rank: Rows of A.
        scaling: PEFT's factor of B A.
        left: Q_B U, of shape (out, number of singular values).
        singular: Singular values of B A, descending.
        right: V^T Q_A^T, of shape (number of singular values, in).
    """

    name: str
    rank: int
    scaling: float
    left: torch.Tensor
    singular: torch.Tensor
    right: torch.Tensor

    def dropped_energy(self, rank: int) -> float:
        """Return the squared Frobenius norm of the update without its first ``rank`` values."""
        return self.scaling**2 * float(self.singular[rank:].square().sum())

    def factors(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return B (out, rank) and A (rank, in) of the first ``rank`` values, split evenly.

        A rank that a narrow layer cannot have is filled with zeros.
        """
        root = self.singular[:rank].sqrt()
        missing = (0, rank - len(root))
        left = torch.nn.functional.pad(self.left[:, :rank] * root, missing)
        right = torch.nn.functional.pad((self.right[:rank].T * root), missing).T
        return left, right


class FactoredAdapter:
    """The singular values and vectors of a LoRA adapter's update, to be cut at any rank.

    Args:
        files: Content by name, as `adapters.export` makes them and PEFT saves them:
            ``adapter_config.json`` and ``adapter_model.safetensors``; card and side file where
            there are any.

    Raises:
        InputError: It is no adapter (a full model), or its update is more than scaled factors of
            linear layers: DoRA, whose norm belongs to the weight with the untruncated update,
            biases, embeddings. Modules that were trained whole stay as they are.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        missing = {CONFIG_FILE, WEIGHTS_FILE} - files.keys()
        if missing:
            raise _refused(f"must hold {' and '.join(sorted(missing))}, as a LoRA adapter does")
        self._files = dict(files)
        self._config: dict[str, Any] = json.loads(files[CONFIG_FILE])
        # The order in which safetensors gives them changes from run to run.
        self._weights = dict(sorted(load(files[WEIGHTS_FILE]).items()))
        self._layers = _factor(self._config, self._weights)
        self.rank = max(layer.rank for layer in self._layers)

    def check_rank(self, rank: int) -> None:
        """Refuse a rank that the adapter cannot be truncated to.

        Raises:
            InputError: It is below 1 or above the adapter's.
        """
        if not 1 <= rank <= self.rank:
            problem = f"must be from 1 to {self.rank}, the adapter's own, got {rank}"
            raise InputError.of("rank", problem)

    def relative_error(self, rank: int) -> float:
        """Return ``|dW - dW'| / |dW|`` in the Frobenius norm over all layers.

        Rounding to the adapter's precision comes on top.
        """
        self.check_rank(rank)
        total = math.fsum(layer.dropped_energy(0) for layer in self._layers)
        dropped = math.fsum(layer.dropped_energy(rank) for layer in self._layers)
        return math.sqrt(dropped / total) if total else 0.0

    def truncated(self, rank: int) -> dict[str, bytes]:
        """Return the files of a plain PEFT adapter with at most this rank in every layer.

        Its scalings are those of the original, so its alphas are not. Weights are written in the
        precision they came in.

        Raises:
            InputError: The rank is below 1 or above the adapter's.
        """
        self.check_rank(rank)
        weights = {}
        saved = _saved_modules(self._config)
        ranks = {layer.name: min(rank, layer.rank) for layer in self._layers}
        factors = {layer.name: layer.factors(ranks[layer.name]) for layer in self._layers}
        for name, tensor in self._weights.items():
            if _is_of(saved, name):
                weights[name] = tensor
                continue
            layer, factor = _layer_and_factor(name)
            left, right = factors[layer]
            new = left if factor == "B" else right
            weights[name] = new.to(tensor.dtype).contiguous()
        files = {
            **self._files,
            CONFIG_FILE: json_file(self._truncated_config(rank, ranks)),
            WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
        }
        note = {"from_rank": self.rank, "rank": rank, "relative_error": self.relative_error(rank)}
        settings = json.loads(self._files.get(SETTINGS_FILE, b"{}"))
        files[SETTINGS_FILE] = json_file({**settings, "compressed": note})
        files[MODEL_CARD] = self._truncated_card(rank).encode()
        return files

    def _truncated_config(self, rank: int, ranks: Mapping[str, int]) -> dict[str, Any]:
        power = 0.5 if self._config.get("use_rslora") else 1.0
        alphas = {layer.name: layer.scaling * ranks[layer.name] ** power for layer in self._layers}
        [(alpha, _)] = Counter(alphas.values()).most_common(1)
        return {
            **self._config,
            "r": rank,
            "lora_alpha": alpha,
            "rank_pattern": {name: own for name, own in ranks.items() if own != rank},
            "alpha_pattern": {name: own for name, own in alphas.items() if own != alpha},
        }

    def _truncated_card(self, rank: int) -> str:
        """Return the card with a paragraph under its title; a title alone without a card."""
        note = (
            f"Truncated after training to rank {rank} from rank {self.rank}, by SVD of the update "
            f"(relative error {self.relative_error(rank):.4f}). Scores and settings below are "
            f"those of the adapter of rank {self.rank}."
        )
        card = self._files.get(MODEL_CARD, b"# LoRA adapter\n").decode()
        titled = re.sub(
            r"^# .*$", lambda title: f"{title[0]}\n\n{note}", card, count=1, flags=re.MULTILINE
        )
        return titled if titled != card else f"{card}\n{note}\n"


def with_scaling(weights: bytes, config: Mapping[str, Any], alpha: float) -> bytes:
    """Return an adapter's weights for a reader that scales every layer by alpha / its own rank.

    Args:
        weights: Content of ``adapter_model.safetensors``.
        config: The adapter's PEFT configuration.
        alpha: The alpha that the reader takes.
    """
    scaled = load(weights)
    for name, tensor in scaled.items():
        layer, factor = _layer_and_factor(name)
        if factor == "B":
            rank = tensor.shape[1]
            own = _scaling(config, layer, rank) * rank / alpha
            scaled[name] = (tensor.double() * own).to(tensor.dtype)
    return save(scaled, metadata={"format": "pt"})


def num_parameters(files: Mapping[str, bytes]) -> int:
    """Return how many numbers an adapter's weights are."""
    return sum(tensor.numel() for tensor in load(files[WEIGHTS_FILE]).values())


def _factor(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> list[_Layer]:
    if config.get("peft_type") != "LORA":
        raise _refused(f"must be LoRA, got `peft_type: {config.get('peft_type')}`")
    if config.get("use_dora"):
        raise _refused(
            "must not be DoRA: its norm belongs to the weight with the whole update, "
            "got `use_dora: true`"
        )
    others = [name for name in _OTHER_UPDATES if config.get(name)]
    saved = _saved_modules(config)
    weights = {name: value for name, value in weights.items() if not _is_of(saved, name)}
    unknown = [name for name, value in weights.items() if not _is_factor(name, value)]
    if others or unknown:
        got = ", ".join([*others, *unknown[:3]]) + (", ..." if len(unknown) > 3 else "")
        raise _refused(f"must hold factors A and B of linear layers alone, got {got}")
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.items():
        layer, factor = _layer_and_factor(name)
        pairs.setdefault(layer, {})[factor] = tensor.double()
    return [
        _factor_layer(layer, _scaling(config, layer, len(pair["A"])), pair["B"], pair["A"])
        for layer, pair in pairs.items()
    ]


def _factor_layer(name: str, scaling: float, b: torch.Tensor, a: torch.Tensor) -> _Layer:
    """Factor ``B A``, for B of shape (out, r) and A of shape (r, in), in float64."""
    q_b, r_b = torch.linalg.qr(b)
    q_a, r_a = torch.linalg.qr(a.T)
    u, singular, v_t = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    return _Layer(
        name=name,
        rank=len(a),
        scaling=scaling,
        left=q_b @ u,
        singular=singular,
        right=v_t @ q_a.T,
    )


def _scaling(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """Return PEFT's factor of a layer: ``alpha / r``, or ``alpha / sqrt(r)`` with rsLoRA."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    alpha: float = patterns.get(get_pattern_key(list(patterns), layer), config["lora_alpha"])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _saved_modules(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the modules that were trained whole."""
    return list(config.get("modules_to_save") or ())


def _is_of(modules: Sequence[str], name: str) -> bool:
    """Return True for a weight of a module that was trained whole."""
    module = name.rpartition(".")[0]
    return any(module.endswith(saved) for saved in modules) and ".lora_" not in name


def _is_factor(name: str, tensor: torch.Tensor) -> bool:
    return _FACTOR.fullmatch(name) is not None and tensor.dim() == 2


def _layer_and_factor(name: str) -> tuple[str, str]:
    match = _FACTOR.fullmatch(name)
    assert match is not None, f"not a LoRA factor: {name}"
    return match["layer"], match["factor"]


def _refused(problem: str) -> InputError:
    return InputError.of("adapter", problem)
