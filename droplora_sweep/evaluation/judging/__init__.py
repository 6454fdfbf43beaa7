"""A judge model's ratings of conversations, by MT-Bench's single-answer grading.

The protocol is that of arXiv 2306.05685 (FastChat's ``llm_judge``): its published prompts, which
are read from the user's files, every turn, temperature 0. A rating that cannot be had is missing,
with a reason, and never zero.

An answer is data. It stands between the prompt's own delimiters, cannot close them
(``prompts``), and no rating is read from it: ``prompts`` reads the end of the judge's own
reply. What prose in an answer talks a judge into cannot be prevented here.
"""
