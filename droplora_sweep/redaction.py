"""Secrets in a text: what counts as one, and the text without it.

Secrets are given through the environment or through files that other programs read, never in a
sweep's file, whose values are written to many places. So there are two uses of this module:
`secret_in` refuses a value of a file or an option, and `redact` is applied where text of unknown
origin (errors, output of libraries) is kept or shown.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MASK = "[redacted]"

MIN_CHARACTERS = 8
"""Shorter values of secret variables (``EMPTY``, ``none``) occur in texts by chance."""

_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:TOKEN|KEY|APIKEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$|^PGPASSWORD$", re.IGNORECASE
)

# Bounded, so that a long line takes no time that grows with its square.
_NAME = r"[\w-]{0,40}(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
_QUERY_NAME = rf"(?:{_NAME}|key|sig|signature|x-amz-credential|x-amz-signature|credential)"

_URL_PASSWORD = re.compile(
    r"(?P<kept>\b[a-z][a-z0-9+.-]{0,30}://[^/\s:@]*:)(?P<secret>[^/\s]+)(?=@)", re.I
)

_PATTERNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "a URL with a password": (_URL_PASSWORD,),
    "a URL with a key": (
        re.compile(rf"(?P<kept>[?&;]{_QUERY_NAME}=)(?P<secret>[^&\s#'\"]+)", re.I),
    ),
    "an API key": (
        re.compile(
            r"(?P<kept>\bauthorization['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?)(?P<secret>\S{8,})", re.I
        ),
        re.compile(r"(?P<kept>\bbearer\s+)(?P<secret>[\w.~+/=-]{16,})", re.I),
        re.compile(rf"(?P<kept>\b{_NAME}['\"]?\s*[:=]\s*['\"]?)(?P<secret>[\w.~+/=-]{{8,}})", re.I),
        # Keys that say themselves whose they are: Hugging Face, OpenAI and kin, GitHub, GitLab,
        # AWS, Slack, Google, and JSON web tokens.
        re.compile(
            r"(?P<kept>\b)(?P<secret>hf_\w{20,}|sk-[\w-]{20,}|gh[opsu]_\w{20,}|github_pat_\w{20,}"
            r"|glpat-[\w-]{20,}|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}"
            r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
        ),
    ),
}


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with every secret replaced by ``[redacted]``.

    Args:
        text: Any.
        environment: Variables whose secret values are looked for; this process's where None.

    >>> redact("cannot reach http://ann:tulip@host:5000/", {})
    'cannot reach http://ann:[redacted]@host:5000/'
    """
    for _, value in _secret_variables(environment):
        text = text.replace(value, MASK)
    for patterns in _PATTERNS.values():
        for pattern in patterns:
            text = pattern.sub(rf"\g<kept>{MASK}", text)
    return text


def secret_in(text: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the secret of a text, in words that do not show it; None if it holds none.

    >>> secret_in("postgresql://ann:tulip@host/study", {})
    'a URL with a password'
    """
    for name, value in _secret_variables(environment):
        if value in text:
            return f"the value of the environment variable {name}"
    for kind, patterns in _PATTERNS.items():
        if any(pattern.search(text) for pattern in patterns):
            return kind
    return None


def _secret_variables(environment: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    """Name and secret of each variable that is a secret or a URL with a password."""
    for name, value in (os.environ if environment is None else environment).items():
        secret = value.strip()
        if _SECRET_VARIABLE.search(name) is None:
            found = _URL_PASSWORD.search(value)
            secret = found["secret"] if found else ""
        # The place of a key file is no secret, whatever its variable is called.
        if len(secret) >= MIN_CHARACTERS and not os.path.lexists(secret):
            yield name, secret
