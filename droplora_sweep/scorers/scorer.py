"""Interface of a scorer, which reads responses and compares them with right answers.

A package brings a scorer of its own by an entry point (see ``plugins``) that names a class::

    [project.entry-points."droplora_sweep.scorers"]
    words = "my_package:WordScorer"

``scoring: words`` of a benchmark then means ``WordScorer``, a frozen dataclass that extends
``Scorer`` and implements ``read``; all else has a default. An instance is made of the benchmark's
settings, holds nothing else, and is the same on every worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ProtocolName: TypeAlias = Literal["paper", "strict"]
"""Rules by which a response is read (see ``EvaluationSpec.protocol``)."""


@dataclass(frozen=True)
class Answer:
    """A response as it was read.

    Attributes:
        prediction: Answer that was read from it; None if none was, which counts as wrong.
        correct: True where it is right.
        credit: Score in [0, 1], larger being better, where a response may be right in part; None
            is 1 if it is right, else 0.
    """

    prediction: str | None
    correct: bool
    credit: float | None = None


@dataclass(frozen=True)
class StopRule:
    """Condition under which a response may end before EOS.

    Attributes:
        is_complete: Returns True for a text that is read as all its continuations are.
        endings: A text that has just become complete holds one of these near its end, so that the
            others need not be looked at; empty if it need not.
    """

    is_complete: Callable[[str], bool]
    endings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A benchmark's way of scoring.

    Attributes:
        options: The benchmark's ``options``.
        pattern: The benchmark's ``pattern``.
    """

    options: tuple[str, ...] = ()
    pattern: str | None = None

    needs: ClassVar[tuple[Literal["options", "pattern"], ...]] = ()
    """Settings without which it cannot score."""
    runs_code: ClassVar[bool] = False
    """True where responses are run with their tests: they need the sandbox, and several samples may
    be scored (pass@k). No training mixture has tests to validate on."""
    is_rated: ClassVar[bool] = False
    """True where a judge rates responses, without right answers: ``read`` is never called."""
    compares_text: ClassVar[bool] = False
    """True where answers are compared as text, so that few different ones are a closed set."""
    keeps_published_golds: ClassVar[bool] = False
    """True where a published benchmark's answers that no response can match are not refused: they
    count as wrong in published scores too."""
    question: ClassVar[str] = "Name three colours."
    """An instruction as its benchmarks may have it, for a model card, which shows no data."""

    @property
    def closed_answers(self) -> tuple[str, ...]:
        """Answers of which a response gives exactly one; empty where they are not listed.

        They can be scored by their probabilities, and a blind guess has its chance.
        """
        return ()

    def sample_question(self) -> str:
        """Return ``question``, or one that lists the options."""
        return self.question

    def gold_problem(self, gold: str) -> str | None:
        """Return why no response could lead to this right answer, as ``must be ..., got ...``.

        An empty one is refused anyway.
        """
        del gold
        return None

    def may_validate(self, gold: str) -> bool:
        """Return True if a training mixture's example with this answer can validate.

        It has no ``gold_problem``.
        """
        del gold
        return True

    def stated(self, gold: str, protocol: ProtocolName) -> str | None:
        """Return a response that says this and nothing else, to be tried before a sweep starts.

        None where there is none, or where it is known to be right.
        """
        del gold, protocol
        return None

    def stop_rule(self, protocol: ProtocolName) -> StopRule | None:
        """Return when a response may end early; None where only EOS ends it."""
        del protocol
        return None

    def read(self, response: str, gold: str, protocol: ProtocolName) -> Answer:
        """Read one response and compare it with the right answer, ``Example.answer``."""
        raise NotImplementedError

    def read_all(
        self,
        responses: Sequence[str],
        golds: Sequence[str],
        protocol: ProtocolName = "paper",
        *,
        preambles: Sequence[str] | None = None,
        allow_unsandboxed_code: bool = False,
    ) -> list[Answer]:
        """Read each response; overridden where many are faster read together.

        Args:
            responses: Texts of a model.
            golds: Right answer to each.
            protocol: Rules by which they are read.
            preambles: ``Example.preamble`` of each, for code; none where None.
            allow_unsandboxed_code: Run code even where there is no sandbox.
        """
        del preambles, allow_unsandboxed_code
        return [self.read(*pair, protocol) for pair in zip(responses, golds, strict=True)]
