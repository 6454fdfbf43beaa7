"""The check of words finds what it refuses, and nothing in code itself."""

from __future__ import annotations

from tests.words import findings


def test_a_refused_phrase_is_named_with_its_line_and_what_to_say() -> None:
    text = '"""A trial.\n\nIt ended for want of memory.\n"""\nsomebody = 1  # is held by\n'
    assert list(findings("some.py", text)) == [
        "some.py:3: 'for want of': say out of, or without",
        "some.py:5: 'is held by': say is already running on",
    ]


def test_a_guide_is_checked_as_a_whole_and_an_exception_is_one_files_own() -> None:
    assert list(findings("guide.md", "a\nhopeless\n")) == ["guide.md:2: 'hopeless': say futility"]
    assert list(findings("droplora_sweep/spec/search.py", "# hopeless\n")) == []
