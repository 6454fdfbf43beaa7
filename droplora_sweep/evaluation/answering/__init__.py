"""Answers to a benchmark's prompts, by each kind of answering.

Each kind takes a ``Share`` of a benchmark and an ``Answerer`` and gives results: by the
probabilities of a closed set of answers, by continuing each prompt greedily, by drawing several
responses, or by answering each turn of a conversation, which a judge rates.
"""
