"""The guides name files and folders that exist, and all that they should name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(
        path.relative_to(ROOT).as_posix()
        for folder in ("search_spaces", "cluster")
        for path in sorted((ROOT / folder).rglob("*.md"))
    ),
]


def _text(guide: str) -> str:
    return (ROOT / guide).read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_to_a_file_and_a_heading_that_exist(guide: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", _text(guide)):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        page = (ROOT / guide).parent / name if name else ROOT / guide
        assert page.exists(), target
        assert not anchor or anchor in _anchors(page), target


@pytest.mark.parametrize("guide", GUIDES)
def test_tests_that_a_guide_names_exist(guide: str) -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)(?:::\w+)?`", _text(guide)):
        assert (ROOT / name).is_file(), name


def test_the_table_of_folders_has_each_folder_in_the_order_of_the_layers() -> None:
    named = re.findall(r"^\| `droplora_sweep/(\w+)/` \|", _text("ARCHITECTURE.md"), re.M)
    contracts = tomllib.loads(_text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "layers")["layers"]
    ranks = {name.strip(): rank for rank, row in enumerate(layers) for name in row.split("|")}
    folders = {path.parent.name for path in (ROOT / "droplora_sweep").glob("*/__init__.py")}

    assert set(named) == folders
    assert [ranks[name] for name in named] == sorted(ranks[name] for name in named)


def test_the_modules_to_read_first_exist() -> None:
    order = _text("ARCHITECTURE.md").split("**Read in this order:**")[1]
    modules = re.findall(r"`([\w/]+\.py)`", order)

    assert len(modules) > 10
    for module in modules:
        assert (ROOT / "droplora_sweep" / module).is_file(), module


def test_the_readme_is_read_at_one_sitting() -> None:
    assert len(_text("README.md").splitlines()) <= 150
