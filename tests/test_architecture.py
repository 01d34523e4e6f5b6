"""Which folder may import which: the plan of the house, read from the imports themselves."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sedimental

ROOT = Path(__file__).parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "installation": {"errors", "__version__"},
    "escape": set(),
    "progress": {"__version__"},
    "registries": {"errors"},
    "result_table": {"errors", "escape"},
    "model_table": {"registries"},
    "config": {"errors", "model_table", "registries"},
    "plain_console": {"escape"},
    "console": {
        *("checks", "config", "errors", "escape", "installation", "plain_console", "progress"),
    },
    "schema": {"config", "model_table", "train"},
    "explain": {"cache", "config", "evaluate", "extract", "model_table", "schema", "train"},
    "command_line": {"cache", "config", "console", "explain", "model_table"},
    "cache": {"result_table", "config", "errors", "escape", "progress", "registries"},
    "evaluate": {
        *("result_table", "model_table", "config", "errors", "escape", "progress", "cache"),
    },
    "extract": {
        *("result_table", "config", "errors", "installation", "escape", "progress", "cache"),
        "registries",
    },
    "train": {
        "result_table",
        "model_table",
        "config",
        "errors",
        "escape",
        "progress",
        "cache",
        "evaluate.metrics",
    },
    "checks": {"config", "errors", "progress", "cache", "extract", "train"},
    "predict_page": {"errors", "escape", "cache", "extract", "evaluate"},
    "predicting": {"config", "errors", "progress", "cache", "extract", "train", "evaluate"},
}
FRONT_DOOR = set(sedimental.__all__)
"""Beside these, a stage's own `cli.py`, and nothing else in it, may print (import `console`) and
call the package's public functions, which hand one stage what it needs of another."""


def files_of(room: str) -> list[Path]:
    single = ROOT / f"{room}.py"
    return [single] if single.is_file() else sorted((ROOT / room).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Modules of ours, dotted from the root, that `file` imports from another room."""
    depth = len(file.relative_to(ROOT).parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {f"{node.module}"} if node.module else {alias.name for alias in node.names}
    return found


def allowed(module: str, room: str, file: Path) -> bool:
    names = MAY_IMPORT[room] | (
        {"command_line", "console", *FRONT_DOOR} if file.name == "cli.py" else set()
    )
    return any(module == m or module.startswith(f"{m}.") for m in names)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_down_the_plan(room: str) -> None:
    files = files_of(room)
    assert files
    against = {
        f"{file.relative_to(ROOT)} -> {module}"
        for file in files
        for module in imported(file)
        if not allowed(module, room, file)
    }
    assert not against


def test_the_package_imports_itself_relatively() -> None:
    """The folders are the map. Ruff's own rule for it depends on the name of the clone's folder."""
    against = {
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for room in (
            *MAY_IMPORT,
            "cli",
            "pipeline_commands",
            "predict_command",
            "__init__",
            "__main__",
        )
        for file in files_of(room)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and not node.level and named_ours(node.module or ""))
        or (isinstance(node, ast.Import) and any(named_ours(a.name) for a in node.names))
    }
    assert not against


def named_ours(module: str) -> bool:
    return module.partition(".")[0] == "sedimental"


@pytest.mark.parametrize("stage", ["cache", "evaluate"])
def test_stage_needs_no_torch(stage: str) -> None:
    """Read the cache and write reports on a machine without torch."""
    code = (
        "import sys, importlib; from pkgutil import walk_packages as walk;"
        f"sys.modules['torch'] = None; p = importlib.import_module('sedimental.{stage}');"
        "[importlib.import_module(m.name) for m in walk(p.__path__, p.__name__ + '.')]"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.mark.parametrize("code", ["import sedimental", "from sedimental.cli import app"])
def test_nothing_heavy_loads_before_it_is_needed(code: str) -> None:
    """`sedimental --help` must answer at once; torch alone takes seconds to import."""
    heavy = {"torch", "transformers", "numpy", "cv2", "av", "zarr", "h5py", "matplotlib"}
    check = f"{code}; import sys; found = {heavy} & sys.modules.keys(); assert not found, found"
    subprocess.run([sys.executable, "-P", "-c", check], check=True)


@pytest.mark.parametrize(
    "first",
    ["", "import sedimental.extract.decode.media, sedimental.train.fit.loop, sedimental.evaluate;"],
)
def test_public_functions_are_typed_and_stay_where_folders_have_their_names(first: str) -> None:
    code = (
        f"{first}import inspect, sedimental;"
        "names = [n for n in sedimental.__all__ if n[0] != '_'];"
        "assert set(names) <= set(dir(sedimental));"
        "import sedimental.train.fit.loop as loop, sedimental.extract.run;"
        "assert sedimental.train.fit.loop is loop and callable(sedimental.train);"
        "functions = [getattr(sedimental, n) for n in names if n != 'NewClip'];"
        "assert all(map(inspect.isfunction, functions)), functions;"
        "assert all(f.__doc__ and inspect.signature(f).return_annotation for f in functions);"
        "import pydoc; text = pydoc.plain(pydoc.render_doc(sedimental.train));"
        "assert 'config: ' in text and 'Train a run for each model' in text, text"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


WITHIN: dict[str, dict[str, set[str]]] = {
    "train": {
        "layers": {"layers"},
        "models": {"layers", "models"},
        "data": {"data", "layers", "models"},
    },
    "cache": {
        "safe_pickle": {"safe_pickle"},
        "store": {"store", "spec"},
        "alignment": {"alignment", "store"},
        "corpus": {"corpus", "checksums", "manifest", "spec", "store"},
        "runs": {"runs", "checksums", "manifest", "spec", "store"},
    },
    "extract/corpora": {"reading": {"reading"}},
    "extract/encoders": {
        "presets": {"presets", "rates"},
        "audio": {"audio", "presets", "rates", "pooling", "device", "budget"}
        | {"loading", "hidden", "frozen"},
    },
    "cache/store": {"parts": {"parts", "sealed_json"}},
    "cache/exchange": {
        "csd": {"csd", "foreign", "export_features", "columns", "labels"},
        "merbench": {"merbench", "foreign", "export_features", "columns", "pickle_write"},
        "mmsa": {"mmsa", "foreign", "export_features", "columns", "labels", "pickle_write"},
    },
}
"""Which rooms of a folder, and files beside them, a room's files may import; the others may import
these."""


def places_of(stage: str, file: Path) -> set[str]:
    """Rooms of `stage` that `file` imports; of a file beside the rooms, its own name."""
    base, found = (ROOT / stage).parts, set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = file.parts[: len(file.parts) - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                whole = (*start, *name.split("."))
                if whole[: len(base)] == base and len(whole) > len(base):
                    found.add(whole[len(base)])
    return found


@pytest.mark.parametrize(
    "stage",
    [
        *("extract", "extract/corpora", "extract/encoders", "train", "evaluate"),
        *("cache", "cache/runs", "cache/safe_pickle"),
    ],
)
def test_rooms_and_files_of_a_stage_import_in_no_circle(stage: str) -> None:
    arrows = dict[str, set[str]]()
    for file in sorted((ROOT / stage).rglob("*.py")):
        place = file.relative_to(ROOT / stage).parts[0].removesuffix(".py")
        arrows.setdefault(place, set()).update(places_of(stage, file) - {place})
    assert len(arrows) > 5
    while free := {place for place, others in arrows.items() if not others & arrows.keys()}:
        arrows = {place: others for place, others in arrows.items() if place not in free}
    assert not arrows, "each of these imports another of them"


@pytest.mark.parametrize(("stage", "room"), [(s, room) for s in WITHIN for room in WITHIN[s]])
def test_rooms_of_a_stage_import_one_way(stage: str, room: str) -> None:
    files = sorted((ROOT / stage / room).rglob("*.py"))
    assert files
    against = {
        f"{file.relative_to(ROOT)} -> {stage}/{other}"
        for file in files
        for other in places_of(stage, file) - WITHIN[stage][room]
    }
    assert not against


MOST_FILES = 20
CROWDED = {"train/models"}
"""A paper a file."""
MOST_LINES = 350
LONG: set[str] = set()
"""Files that are still to be divided."""


def code() -> list[Path]:
    """Every Python file of the package."""
    rooms = {*MAY_IMPORT, "cli", "pipeline_commands", "predict_command", "__init__", "__main__"}
    return [file for room in sorted(rooms) for file in files_of(room)]


def test_no_folder_is_crowded() -> None:
    count = Counter(file.parent.relative_to(ROOT).as_posix() for file in code())
    assert {folder for folder, files in count.items() if files > MOST_FILES} <= CROWDED


def test_no_file_is_long() -> None:
    lines = {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for file in code()
    }
    assert {name for name, count in lines.items() if count > MOST_LINES} <= LONG
