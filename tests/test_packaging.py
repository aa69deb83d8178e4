"""What the pages at the top of the project say, held against the project."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

import hmavel
from hmavel import cli

TOP = Path(__file__).resolve().parents[1]
SOURCE = TOP / "src" / "hmavel"
README = (TOP / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def unit(name: str) -> str:
    """``hmavel.product.cube`` -> ``product/``, ``hmavel.bias`` -> ``bias``."""
    first = name.split(".")[1]
    return f"{first}/" if (SOURCE / first).is_dir() else first


def listed() -> list[str]:
    return re.findall(r"^\| `([\w/]+)` \|", ARCHITECTURE, flags=re.M)


def present() -> dict[str, list[Path]]:
    """Modules and packages of the source tree, with their files."""
    found = {p.stem: [p] for p in SOURCE.glob("*.py") if p.name != "__init__.py"}
    found |= {f"{p.parent.name}/": sorted(p.parent.glob("*.py"))
              for p in SOURCE.glob("*/__init__.py")}
    return found


def imported(file: Path) -> set[str]:
    """Parts of hmavel that a file imports when it runs (not those for the type checker)."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == "hmavel":
                names |= {f"hmavel.{alias.name}" for alias in node.names}
            elif node.module.startswith("hmavel."):
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.startswith("hmavel.")}
    return {unit(name) for name in names}


def test_architecture_lists_every_module_once() -> None:
    assert sorted(listed()) == sorted(present())


def test_modules_import_only_from_above() -> None:
    order = {name: place for place, name in enumerate(listed())}
    wrong = [
        f"{file.relative_to(SOURCE)} imports {other}"
        for name, files in present().items()
        for file in files
        for other in sorted(imported(file) - {name})
        if order.get(other, -1) > order.get(name, len(order))
    ]
    assert wrong == []


def test_architecture_lists_the_c_files() -> None:
    text = code_blocks(ARCHITECTURE, "text")[1]
    words = [word for line in text.splitlines() for word in line.split("  ")[0].split()]
    named = set()
    for word in words:
        stem, _, ends = word.partition(".")
        for end in ends.strip("{}").split(","):
            if end:
                named.add(f"{stem}.{end}")
    files = {p.name for p in (TOP / "src" / "ext").iterdir() if not p.name.startswith(".")}
    assert files - named - {"hmk_memory.h"} == set()
    assert named - files == set()


def test_readme_lists_the_commands_that_there_are() -> None:
    table = re.findall(r"^\| `hmavel (\w+)", README, flags=re.M)
    actions = cli.parser()._subparsers
    assert actions is not None
    choices = actions._group_actions[0].choices
    assert choices is not None
    assert sorted(table) == sorted(choices)


def test_readme_gives_two_commands_first() -> None:
    """CI takes both lines from here, word for word."""
    assert code_blocks(README, "sh")[:2] == ["./hm demo\n", "./hm test\n"]
    usage = subprocess.run(
        [TOP / "hm", "help"], capture_output=True, text=True, check=True
    ).stdout
    for command in ("demo", "test", "setup"):
        assert f"./hm {command}" in usage


def test_readme_links_lead_somewhere() -> None:
    for page in (TOP / "README.md", TOP / "CONTRIBUTING.md", *(TOP / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            picture = "gallery/" in target
            if "://" in target or (picture and not (TOP / "docs" / "gallery").is_dir()):
                continue  # the source distribution comes without the pictures
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_example_prints_what_it_says() -> None:
    (example,) = code_blocks(README, "python")
    promised = re.findall(r"^print\(.*\)  # (.*)$", example, flags=re.M)
    out = StringIO()
    with redirect_stdout(out):
        exec(compile(example, "README.md", "exec"), {})
    assert promised
    assert out.getvalue().splitlines() == promised


def test_version_is_in_one_place() -> None:
    with (TOP / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert hmavel.__version__ == version
    elsewhere = [p for p in SOURCE.rglob("*.py") if f'"{version}"' in p.read_text("utf-8")]
    assert elsewhere == []


@pytest.mark.parametrize(
    ("python", "word"),
    [("echo Python 3.9.2; exit 1\n", "Python 3.9.2"), (None, "found no-such-python")],
)
def test_launcher_refuses_an_old_python(tmp_path: Path, python: str | None, word: str) -> None:
    given = "no-such-python"
    if python:
        old = tmp_path / "python3"
        old.write_text(f"#!/bin/sh\n{python}", encoding="utf-8")
        old.chmod(0o755)
        given = str(old)
    environment = os.environ | {"PYTHON": given, "HM_VENV": str(tmp_path / "env")}
    run = subprocess.run(
        [TOP / "hm", "demo"], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "needs Python 3.11 or newer" in run.stderr
    assert word in run.stderr
    assert not (tmp_path / "env").exists()


def test_requirements_have_lower_bounds_and_no_upper_ones() -> None:
    oldest = TOP / ".ci" / "oldest.py"
    if not oldest.is_file():
        pytest.skip("a source distribution has no .ci")
    with (TOP / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    run = subprocess.run(
        [sys.executable, oldest, "stac"], capture_output=True, text=True, check=True
    ).stdout
    assert len(run.splitlines()) == len(project["dependencies"]) + 1
    everything = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        everything += extra
    assert [name for name in everything if "<" in name or "==" in name or "~=" in name] == []
