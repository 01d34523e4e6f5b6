"""README and docs say what is true: their commands and links exist, their Python is Python."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sedimental.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LAUNCHERS = ("srun", "torchrun", "accelerate", "uv", "python")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Every `sedimental` command of the page, in blocks and in the text, as arguments."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line.removeprefix("$ ")
        for kind in ("console", "bash", "sh")
        for block in blocks(page, kind)
        for line in block.splitlines()
    ]
    lines += re.findall(r"`(sedimental [^`\n]+)`", BLOCK.sub("", text))
    found = []
    for line in lines:
        for piece in line.split(" && "):
            try:
                words = shlex.split(piece, comments=True)
            except ValueError:  # a comment with an apostrophe
                words = piece.split(" #")[0].split()
            names = ("sedimental", ".venv/bin/sedimental")
            place = next((n for n, word in enumerate(words) if word in names), None)
            if place is not None and (place == 0 or words[0] in LAUNCHERS):
                found.append(words[place + 1 :])
    return found


COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


def test_there_is_something_to_check() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}" for page, words in COMMANDS]
)
def test_every_command_and_option_that_is_shown_exists(page: str, words: list[str]) -> None:
    node: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and hasattr(node, "commands"):
        if rest[0].startswith("-"):
            break
        assert rest[0] in node.commands, f"{page}: there is no {' '.join(words)}"
        node = node.commands[rest.pop(0)]
    known = {opt for param in node.params for opt in (*param.opts, *param.secondary_opts)}
    known |= {"--help", "-h"}
    for word in rest:
        if re.match(r"--?[a-zA-Z]", word):
            assert word.split("=")[0] in known, f"{page}: {' '.join(words)}: no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link and not link.startswith(("#", "mailto:")):
            assert (page.parent / link.split("#")[0]).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_and_toml_of_the_pages_parse(page: Path) -> None:
    import tomllib

    for block in blocks(page, "python"):
        ast.parse(block)
    for block in blocks(page, "toml"):
        tomllib.loads(block)


def test_pages_that_the_site_names_exist() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    placed = re.findall(r"[\w/-]+\.md", site)
    assert len(placed) == len(set(placed)) > 10
    assert all((ROOT / "docs" / page).is_file() for page in placed)


def test_readme_is_two_screens_with_a_small_picture() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10_000
    picture = ROOT / "docs/report.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 200_000
