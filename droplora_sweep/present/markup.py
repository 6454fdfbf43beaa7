"""Templates of the pages that users see: escaped, with the styles and tables that they share."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from droplora_sweep.present.values import format_quantity, format_seconds, format_time

if TYPE_CHECKING:
    import jinja2

SHARED = __package__
STYLE = "style.css"


def read_template(package: str, name: str) -> str | None:
    """Return the text of a package's template, else of a shared one; None where there is none."""
    for place in (package, SHARED):
        file = files(place).joinpath("template", name)
        if file.is_file():
            return file.read_text("utf-8")
    return None


@cache
def template(package: str, name: str) -> jinja2.Template:
    """Return a template, ready to render; everything that is filled in is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda wanted: read_template(package, wanted)),
        autoescape=True,
        finalize=_unbroken,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seconds=format_seconds, time=format_time, quantity=format_quantity)
    return environment.get_template(name)


def _unbroken(value: object) -> object:
    """Text in which no line ends within ``p = 0.2``; markup as it is."""
    return (
        value.replace("p = ", "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
        if type(value) is str
        else value
    )
