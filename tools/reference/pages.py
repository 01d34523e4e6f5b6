"""docs/reference: a page each of keys, models, encoders, metrics, commands, codes and files."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from sedimental.config import TAGS, Config
from sedimental.config.wording import sections
from sedimental.errors import EXIT_CODES, SedimentalError
from sedimental.explain import Entry, encoders, keys, metrics, models, options
from sedimental.schema import plain_text

from .files import files

HEAD = "<!-- written by `make reference` from the code: edit that -->\n"


def pages(app: Any) -> Mapping[str, str]:
    """File name -> text; `app` is the command line as typer's group."""
    made = {
        "keys.md": _keys(),
        "models.md": _models(),
        "encoders.md": _encoders(),
        "metrics.md": _metrics(),
        "commands.md": _commands(app),
        "exit-codes.md": _codes(),
        "files.md": _files(),
    }
    return {name: "\n".join([HEAD, *lines]).rstrip() + "\n" for name, lines in made.items()}


def _keys() -> Iterator[str]:
    yield from (
        "# Keys of pipeline.toml",
        "",
        "Every key may be given on a command line as well, `-o train.epochs=5`; of a [[features]]",
        "table as `-o features.vision.fps=5`. `sedimental explain KEY` says the same as this page.",
        "",
    )
    documents = {
        path: plain_text(kind.__doc__ or "").partition(": ")[2].capitalize()
        for path, kind in sections(Config, TAGS)
    }
    for path, group in groupby(keys(), lambda entry: entry.name.rpartition(".")[0]):
        if path in ("train.inputs.audio", "train.inputs.vision"):
            continue  # the same keys
        title = f"[{path}]"
        if path.startswith("features."):
            title = f'[[features]] with modality = "{path.partition(".")[2]}"'
        if path.startswith("train.inputs."):
            title = "[train.inputs] text, audio, vision"
        yield from (f"## {title}", "", documents[path], "")
        yield from _table(group, short=True)


def _models() -> Iterator[str]:
    from sedimental.model_table import ADDED, MODELS

    yield from ("# Models and their options", "")
    own = [name for name in MODELS if name not in ADDED]
    for entry in models():
        if entry.name not in own:
            continue
        facts = {k: v for k, v in entry.facts.items() if k != "options"}
        yield from (f"## {entry.name}", "", entry.words, "")
        yield from (f"- {what}: {said}" for what, said in facts.items())
        yield ""
        yield from _table(options(entry.name), short=True)


def _encoders() -> Iterator[str]:
    yield from (
        "# Encoders known by name",
        "",
        "Any other Hub id of these families works as well, or a folder of `save_pretrained`.",
        "",
    )
    columns = ("modality", "family", "size", "Hub id", "weights by default")
    yield from _rows(("encoder", *columns))
    for entry in encoders():
        yield _row(f"`{entry.name}`", *(entry.facts.get(name, "") for name in columns))


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", "By the keys that result files have.", "")
    yield from _rows(("key", "in tables", "protocol", "better", "what it is"))
    for entry in metrics():
        facts = (entry.facts[name] for name in ("in tables", "protocol", "better"))
        yield _row(f"`{entry.name}`", *facts, entry.words)


def _commands(app: Any) -> Iterator[str]:
    yield from ("# Commands", "")
    for path, command in _leaves(app):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        shown = " ".join((p.metavar or p.name).upper().rstrip(".") for p in arguments)
        yield from (f"## sedimental {' '.join(path)} {shown}".rstrip(), "")
        yield from (plain_text(command.help or "").replace("\n", "\n\n"), "")
        rows = [
            _row(", ".join(f"`{name}`" for name in p.opts + p.secondary_opts), p.help)
            for p in command.params
            if p.param_type_name == "option" and "--help" not in p.opts
        ]
        yield from (*_rows(("option", "what it is")), *rows, "") if rows else ()


def _codes() -> Iterator[str]:
    yield from ("# Exit codes", "")
    yield from _rows(("code", "what it says"))
    for code, words in EXIT_CODES.items():
        yield _row(str(code), words)
    yield from ("", "In Python the same faults are raised:", "")
    yield from _rows(("error", "code", "what it is"))
    family: list[type[SedimentalError]] = [SedimentalError, *_below(SedimentalError)]
    for kind in family:
        if kind.__module__.endswith(".errors"):
            yield _row(f"`{kind.__name__}`", str(kind.code), plain_text(kind.__doc__ or ""))


def _files() -> Iterator[str]:
    yield from (
        "# Files on disk",
        "",
        "All are written under a hidden name, synced, and renamed: one that is there is whole.",
        "",
    )
    yield from _rows(("path", "what it is"))
    for path, words in files():
        yield _row(f"`{path}`", words)


def _leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, (*path, name))
        else:
            yield (*path, name), command


def _below(kind: type[SedimentalError]) -> Iterator[type[SedimentalError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _table(entries: Iterable[Entry], short: bool) -> Iterator[str]:
    yield from _rows(("key", "value", "default", "what it is"))
    for entry in entries:
        name = entry.name.rpartition(".")[2] if short else entry.name
        yield _row(f"`{name}`", entry.values, f"`{entry.default}`", entry.words)
    yield ""


def _rows(columns: Iterable[str]) -> Iterator[str]:
    names = list(columns)
    yield _row(*names)
    yield "|" + "---|" * len(names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    """`text` where Markdown would take bars and angles for its own; code stays as it is."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("\n", "<br>") for part in parts[::2]]
    return "`".join(parts)
