"""How commands write: text of others is text, on any stdout, whoever reads it (H12, H16)."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from sedimental.cache.spec import FeatureSpec
from sedimental.cache.store.writer import ClipFeatures, StoreWriter
from sedimental.console import exit_on_fault
from sedimental.errors import ConfigError, ManifestError, StoreError
from sedimental.plain_console import PlainConsole

NASTY = (
    "[/x]a",
    "[bold red]b",
    ":smile:",
    "c\x1b[31m",
    "\u202ed",
    "中文",
    "e\rf",
    "g\ng",
    "\x9b2J",
)
SPEC = FeatureSpec("text", "toy", "toy", None, "random:0", "0", ("0", "1"), 4)


def shown(renderable: Any, width: int = 400) -> str:
    console = PlainConsole(io.StringIO(), width)
    console.print(renderable, soft_wrap=isinstance(renderable, str))
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def steering(text: str) -> set[str]:
    return {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202a\u202e\u2066"} - {
        "\n"
    }


@given(st.text(max_size=30) | st.sampled_from(NASTY))
def test_whatever_a_name_is_it_neither_vanishes_nor_steers(name: str) -> None:
    """H12: as markup, `[/x]` is a MarkupError and `[bold]` is gone."""
    for made in (name, Text(name)):
        table = Table()
        table.add_column("clip", no_wrap=True)
        table.add_row(made)
        for renderable in (made, table):
            text = shown(renderable)
            assert not steering(text)
            if made is name:
                letters = [c for c in name if (c.isascii() and c.isalnum()) or c in "[]/:"]
                assert all(text.count(c) >= letters.count(c) for c in letters)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = StoreWriter.create(tmp_path_factory.mktemp("features") / "corpus", SPEC)
    one = np.ones(3, np.float32)
    values = np.ones((2, 3, 4), np.float32)
    writer.add([ClipFeatures(name, "s", values, one, one, one > 0, {}) for name in NASTY])
    writer.finish(writer.present(), {f"failed {name}": f"why {name}" for name in NASTY})
    return writer.path


def run(*command: object, env: dict[str, str] | None = None, **how: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "sedimental", *map(str, command)],
        env=os.environ | (env or {}),
        stderr=subprocess.PIPE,
        **how,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_few_letters_on_stdout_lose_nothing(store: Path, encoding: str) -> None:
    """H16: a Chinese name on a terminal that has no such letters."""
    env = {"PYTHONIOENCODING": encoding}
    out, err = run("cache", "info", store, env=env, stdout=subprocess.PIPE).communicate()
    assert b"\\u4e2d\\u6587" in out
    assert b"[bold red]b" in out
    assert err == b""
    out, _ = run("cache", "info", store, "--json", env=env, stdout=subprocess.PIPE).communicate()
    assert "failed 中文" in json.loads(out.decode(encoding))["failures"]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_a_reader_that_leaves_ends_nothing(store: Path, options: list[str]) -> None:
    """H16: as with `| head -1`."""
    read, write = os.pipe()
    process = run("cache", "info", store, *options, stdout=write)
    os.close(read)
    os.close(write)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


def test_no_stdout_at_all(store: Path) -> None:
    """H16: as with `>&-`; and what is opened next must not become stdout."""
    for command in (["cache", "info", store], ["cache", "info", store, "--json"], ["--help"]):
        process = run(*command, preexec_fn=lambda: os.close(1))
        assert process.communicate()[1] == b""
        assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["info", "json", "help"])
def test_a_full_disk_behind_stdout_is_one_line(store: Path, command: str) -> None:
    """H9 and H16: Python would add a traceback while it ends."""
    words = {"info": ["cache", "info", store], "json": ["cache", "info", store, "--json"]}
    with Path("/dev/full").open("wb") as full:
        process = run(*words.get(command, ["--help"]), stdout=full)
        told = process.communicate()[1].decode()
    assert told.count("\n") == 1
    assert told.startswith("error: No space left on device")
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (ConfigError("p.toml: x"), 2, "error: p.toml: x"),
        (ManifestError("t.csv: x"), 2, "error: t.csv: x"),
        (StoreError("s [/x]"), 1, "error: s [/x]"),
        (OSError(28, "No space", "a/b"), 1, "error: a/b: No space left on device. Free some"),
        (OSError(13, "Denied", "a/b"), 1, "error: a/b: Permission denied. Make it"),
        (MemoryError(), 1, "error: there is not enough memory"),
        (KeyboardInterrupt(), 130, "error: stopped"),
    ],
)
def test_every_fault_is_a_message_and_an_exit_code(
    fault: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    with pytest.raises(typer.Exit) as end, exit_on_fault():
        raise fault
    assert end.value.exit_code == code
    assert capsys.readouterr().err.startswith(says)


def test_a_fault_of_ours_is_no_fault_of_the_users() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_fault():
        raise ZeroDivisionError
