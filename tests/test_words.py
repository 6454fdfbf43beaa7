"""The check of words finds what it refuses, and nothing in code itself."""

from __future__ import annotations

from tests.words import findings, questions


def test_a_refused_phrase_is_named_with_its_line_and_what_to_say() -> None:
    text = '"""A trial.\n\nIt ended for want of memory.\n"""\nsomebody = 1  # is held by\n'
    assert list(findings("some.py", text)) == [
        "some.py:3: 'for want of': say out of, or without",
        "some.py:5: 'is held by': say is already running on",
    ]


def test_a_guide_is_checked_as_a_whole_and_an_exception_is_one_files_own() -> None:
    assert list(findings("guide.md", "a\nhopeless\n")) == ["guide.md:2: 'hopeless': say futility"]
    assert list(findings("droplora_sweep/spec/search.py", "# hopeless\n")) == []


def test_a_docstring_that_asks_is_named_and_other_texts_are_not() -> None:
    text = (
        '"""What a trial is."""\nsize = 1\n"""How large it is."""\n'
        'def run():\n    """Whether it ran."""\n    return "What else"\n'
        'class Trial:\n    """State of one trial.\n\n    What else.\n    """\n'
    )
    advice = "begin with a noun phrase, or an imperative such as Return"
    assert list(questions("some.py", text)) == [
        f"some.py:1: 'What': {advice}",
        f"some.py:3: 'How': {advice}",
        f"some.py:5: 'Whether': {advice}",
    ]
