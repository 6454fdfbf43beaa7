"""Interface of a scorer, which reads responses and compares them with right answers.

A package brings a scorer of its own by an entry point (see ``plugins``) that names a class::

    [project.entry-points."droplora_sweep.scorers"]
    words = "my_package:WordScorer"

``scoring: words`` of a benchmark then means ``WordScorer``, a frozen dataclass that extends
``Scorer`` and implements ``read``; all else has a default. An instance is made of the benchmark's
settings, holds nothing else, and is the same on every worker.

Scores are in [0, 1], larger being better. A scorer whose numbers are costs, less being better,
says so by its ``direction``; ``read_responses`` makes scores of them and checks what a user's
scorer gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from numbers import Real
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from droplora_sweep.errors import DropLoRASweepError, TrialError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ProtocolName: TypeAlias = Literal["paper", "strict"]
"""Rules by which a response is read (see ``EvaluationSpec.protocol``)."""


Direction: TypeAlias = Literal["higher", "lower"]
"""Side on which a scorer's numbers are better."""


class ScoringError(TrialError):
    """A scorer cannot score; the text, one line, says why."""


@dataclass(frozen=True)
class Response:
    """A response that is to be scored, and what it answers.

    Attributes:
        text: The response, without EOS.
        reference: The right answer, ``Example.answer``.
        id: The example's, ``Example.digest``.
        prompt: The rendered prompt.
        preamble: ``Example.preamble``, for code.
    """

    text: str
    reference: str
    id: str = ""
    prompt: str = ""
    preamble: str = ""


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
        direction: Side on which ``Answer.credit`` is better. With ``lower`` it is a cost in [0, 1],
            which every answer has to have, and the score is 1 minus it.
    """

    options: tuple[str, ...] = ()
    pattern: str | None = None
    direction: Direction = "higher"

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
    package: ClassVar[str | None] = None
    """Package that it imports, which the extra ``metrics`` installs."""
    reports: ClassVar[tuple[str, ...]] = ()
    """Corpus metrics that are reported beside its score (see ``corpus_metrics``)."""
    grades: ClassVar[bool] = False
    """True where every answer has a credit."""
    question: ClassVar[str] = "Name three colours."
    """An instruction as its benchmarks may have it, for a model card, which shows no data."""

    @property
    def closed_answers(self) -> tuple[str, ...]:
        """Answers of which a response gives exactly one; empty where they are not listed.

        They can be scored by their probabilities, and a blind guess has its chance.
        """
        return ()

    @property
    def is_own(self) -> bool:
        """True where its code is a user's, so that what it gives is checked."""
        return not type(self).__module__.startswith("droplora_sweep.")

    def missing_package(self) -> str | None:
        """Return why it cannot be used here, as ``needs ..., which is not installed``."""
        if self.package is None or find_spec(self.package) is not None:
            return None
        return (
            f"needs {self.package}, which is not installed: pip install 'droplora-sweep[metrics]'"
        )

    def code_digest(self) -> str | None:
        """Return the sha256 of a user's code that scores, in hex; None where it is not known."""
        return None

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

    def read_each(
        self,
        responses: Sequence[Response],
        protocol: ProtocolName,
        *,
        allow_unsandboxed_code: bool = False,
    ) -> list[Answer]:
        """Read each response; overridden where its prompt or id is needed too.

        Raises:
            ScoringError: It cannot score them.
        """
        return self.read_all(
            [one.text for one in responses],
            [one.reference for one in responses],
            protocol,
            preambles=[one.preamble for one in responses],
            allow_unsandboxed_code=allow_unsandboxed_code,
        )


def read_responses(
    scorer: Scorer,
    responses: Sequence[Response],
    protocol: ProtocolName,
    *,
    allow_unsandboxed_code: bool = False,
) -> list[Answer]:
    """Read each response, and check what a user's scorer gives.

    Args:
        scorer: The benchmark's.
        responses: Of one benchmark.
        protocol: Rules by which they are read.
        allow_unsandboxed_code: Run code even where there is no sandbox.

    Returns:
        Answers in the order of the responses; credits are scores, larger being better.

    Raises:
        ScoringError: A user's scorer raises, or gives too few answers or too many, or one that is
            no number in [0, 1].
    """
    if not scorer.is_own:
        return scorer.read_each(responses, protocol, allow_unsandboxed_code=allow_unsandboxed_code)
    try:
        answers = scorer.read_each(
            responses, protocol, allow_unsandboxed_code=allow_unsandboxed_code
        )
    except DropLoRASweepError:
        raise
    # Whatever a user's scorer raises, the user needs to know that it was the scorer.
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise ScoringError(f"the scorer raised {type(error).__name__}: {text}") from error
    if len(answers) != len(responses):
        raise ScoringError(
            f"the scorer must give one score per response, {len(responses)}, got {len(answers)}"
        )
    return [
        _checked(answer, response, scorer)
        for answer, response in zip(answers, responses, strict=True)
    ]


def _checked(answer: Answer, response: Response, scorer: Scorer) -> Answer:
    if not isinstance(answer, Answer):
        raise ScoringError(f"the scorer must give an Answer, got {type(answer).__name__}")
    credit = answer.credit
    is_cost = scorer.direction == "lower"
    if credit is None and not (is_cost or scorer.grades):
        return answer
    # Of NaN no comparison is true.
    if (
        credit is None
        or isinstance(credit, bool)
        or not isinstance(credit, Real)
        or not 0 <= credit <= 1
    ):
        raise ScoringError(
            f"the scorer must give a number in [0, 1], got {credit!r} for example "
            f"{response.id} and response {response.text[:40]!r}"
        )
    return replace(answer, credit=1 - float(credit) if is_cost else float(credit))
