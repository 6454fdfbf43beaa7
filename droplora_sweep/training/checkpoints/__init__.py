"""Checkpoints of a trial: the state to resume it in another process, on other workers.

``trials/<trial>/checkpoints/step-00000040/`` holds

* ``state.json``: steps done, evaluations reported and the last report with its results, sums over
  the steps since then, AdamW's step count, what the method decided on the way (LoRA-drop: each
  layer's measured output, from which it follows who shares an adapter), number of workers, and
  which trial this is;
* ``weights.safetensors``, ``exp_avg.safetensors`` and ``exp_avg_sq.safetensors``: what is trained
  and AdamW's moments, whole and in fp32, by parameter name, whatever number of workers held them;
* ``MANIFEST.json``: sha256 of each file. There is no pickle.

Weights are the optimiser's fp32 master copies; those of the model are the same numbers in its own
precision. Gates of a learned mask are among them as they are trained. Base weights are not: PiSSA
and MiLoRA derive theirs from the base model again.

No random state is kept, because none outlives a step: the order of the data is a function of seed
and epoch, a ``step`` mask of seed, layer and step, and all other draws (``token`` and ``sample``
masks, dropout) come from a generator seeded with seed, step and rank before each step. A resumed
trial therefore gives the adapter of an uninterrupted one

* bit for bit, with the same number of workers on the same kind of machine;
* up to the rounding of sums over workers, with another number of them, where no draw depends on the
  rank (``pruning_rate: 0``, ``step`` and ``learned`` masks, without dropout);
* with other draws of the same distribution from that step on, in all other cases.
"""
