"""Entry points of installed packages: found by name, refused in one line that names them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from droplora_sweep import plugins

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "droplora_sweep.tried"


def install(site: Path, package: str, code: str, **entry_points: str) -> None:
    """Put a package of one module, and what names its entry points, into a folder of packages."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {package}:{value}" for name, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    (site / f"{package}.py").write_text(code)


def test_what_a_package_brings_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "tried_one", "def path():\n    return 'a/b'\n", path="path", text="str")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert plugins.names(GROUP) == {"path", "text"}
    assert plugins.load(GROUP, "path", str) == "a/b"
    assert plugins.load(GROUP, "absent", str) is None


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = (", "SyntaxError: '(' was never closed (tried_bad.py, line 1)"),
        ("", "AttributeError: module 'tried_bad' has no attribute 'brought'"),
        ("def brought():\n    raise OSError('no disk')\n", "OSError: no disk"),
        ("def brought():\n    return 3\n", "must return a str, got int"),
        ("brought = 'text'\n", "TypeError: 'str' object is not callable"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_the_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, problem: str
) -> None:
    monkeypatch.delitem(sys.modules, "tried_bad", raising=False)
    install(tmp_path, "tried_bad", code, mine="brought")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(plugins.PluginError) as refused:
        plugins.load(GROUP, "mine", str)
    assert str(refused.value) == f"entry point mine = tried_bad:brought: {problem}"


def test_a_name_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tried_first", "tried_second"):
        install(tmp_path, package, "def brought():\n    return ''\n", lora="brought")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(plugins.PluginError) as refused:
        plugins.load(GROUP, "lora", str, builtin=("lora", "dora"))
    packages = ("tried_first", "tried_second")
    assert str(refused.value) in [
        f"entry point lora = {package}:brought: must have another name than what is built in, "
        f"got lora; uninstall {package}, or rename its entry point"
        for package in packages
    ]

    with pytest.raises(plugins.PluginError) as refused:
        plugins.load(GROUP, "lora", str)
    assert str(refused.value) in [
        f"entry point lora = {one}:brought: must be the only one of its name, got {other}:brought "
        "too"
        for one, other in (packages, packages[::-1])
    ]
