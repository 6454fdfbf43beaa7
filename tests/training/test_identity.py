"""A checkpoint's identity is what the version before computed, so that its trials are resumed."""

from __future__ import annotations

from droplora_sweep.spec import TrialSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.training.population import identity_of, shared_identity

TRIAL = TrialSpec(task=TaskSpec(name="builtin", benchmarks=("builtin_math",)))


def test_a_trial_without_new_fields_has_the_identity_that_it_had() -> None:
    # Computed by the version before the likelihood.
    own = "ec495e511be0257a0e243f4fe146b773b43319599465f9db5fb0552339a67259"
    shared = "63a7ddc6ac3951b4e00efaefaff0e363e646497672553cab7e79b5ffd1a77f64"
    assert (identity_of(TRIAL, 8), shared_identity(TRIAL, 8)) == (own, shared)


def test_a_measured_likelihood_is_part_of_it() -> None:
    evaluation = TRIAL.evaluation.model_copy(update={"likelihood": True})
    measured = TRIAL.model_copy(update={"evaluation": evaluation})
    assert identity_of(measured, 8) != identity_of(TRIAL, 8)


def test_a_chat_template_is_part_of_it_where_one_is_used() -> None:
    template = "0" * 64
    assert identity_of(TRIAL, 8, template=template) != identity_of(TRIAL, 8)
    assert identity_of(TRIAL, 8, template=template) != identity_of(TRIAL, 8, template="1" * 64)
    assert shared_identity(TRIAL, 8, template=template) != shared_identity(TRIAL, 8)
