"""Four benchmarks generated from a seed, so that a sweep can be tried without a download."""
