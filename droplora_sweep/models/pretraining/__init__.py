"""Making of models for trying out: the built-in one from a seed, SmolLM2 from a wheel.

What is here stays in the repository and is left out of the wheel.
"""
