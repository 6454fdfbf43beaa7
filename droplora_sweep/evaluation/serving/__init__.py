"""Decoding by vLLM: a server process beside each worker, in an environment of its own."""
