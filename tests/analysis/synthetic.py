"""Synthetic sweeps of known truth.

Each score is 0 or 1: whether a sum of normal effects (of arm, seed, example, their interactions,
and noise) is above a threshold that gives the arm its true mean. The spreads are in units of the
noise, whose variance is 1. As the sum is normal, the true mean over all seeds and all examples is
known exactly.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from droplora_sweep.analysis.evidence import Arm, ScoreTable


@dataclass(frozen=True)
class World:
    """Variance of scores; the defaults make runs of 200 examples differ by about 3 points.

    Attributes:
        example: Spread of the examples' difficulty.
        seed: Of what a seed does to every arm.
        arm_seed: Of what a seed does to one arm.
        arm_example: Of what an arm does to one example.
    """

    example: float = 1.8
    seed: float = 0.08
    arm_seed: float = 0.08
    arm_example: float = 0.3

    def scores(self, truths, num_seeds, num_examples, generator, examples_AE=None):
        """Scores of shape (arms, seeds, examples) whose true means are ``truths``.

        Args:
            truths: True mean of each arm.
            num_seeds: New seeds that are drawn.
            num_examples: Examples.
            generator: Of random numbers.
            examples_AE: From `draw_examples`, to see the same examples again; drawn if None.
        """
        shape = (len(truths), num_seeds, num_examples)
        if examples_AE is None:
            examples_AE = self.draw_examples(len(truths), num_examples, generator)
        draw = generator.standard_normal
        variances = [1, self.example**2, self.seed**2, self.arm_seed**2, self.arm_example**2]
        threshold_A = norm.ppf(truths) * np.sqrt(sum(variances))
        latent_ASE = (
            threshold_A[:, None, None]
            + examples_AE[:, None, :]
            + self.seed * draw((1, num_seeds, 1))
            + self.arm_seed * draw((len(truths), num_seeds, 1))
            + draw(shape)
        )
        return (latent_ASE > 0).astype(np.float64)

    def draw_examples(self, num_arms, num_examples, generator):
        """Effects of the examples on each arm, the same at each run."""
        draw = generator.standard_normal
        shared_E = self.example * draw(num_examples)
        return shared_E + self.arm_example * draw((num_arms, num_examples))


def arms_of(rates):
    return tuple(Arm(f"t{index:04d}", rate) for index, rate in enumerate(rates))


def table_of(rates, **scores):
    """A table of arms with these rates, its seeds numbered from 0."""
    [num_seeds] = {scores_ASE.shape[1] for scores_ASE in scores.values()}
    return ScoreTable(arms_of(rates), tuple(range(num_seeds)), scores)
