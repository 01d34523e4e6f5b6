"""The README's promise: the shipped pipeline, run as it stands, shows that fusion works."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sedimental.config import load_config
from sedimental.extract.face_strips import face_strips


def sedimental(*arguments: str, cwd: Path) -> Any:
    command = [sys.executable, "-P", "-m", "sedimental", *arguments, "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("default")
    command = [sys.executable, "-P", "-m", "sedimental", "init"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def result(place: Path) -> Any:
    return sedimental("run", cwd=place)


def test_every_clip_has_features(result: Any) -> None:
    assert result["extract"]["failures"] == []
    assert [s["new"] for s in result["extract"]["stores"]] == [240, 240, 240]


def test_fusion_beats_every_single_modality(result: Any) -> None:
    uegd = [row for row in result["report"]["rows"] if row["model"] == "uegd"]
    rows = {row["letters"]: row["test"]["Corr"]["mean"] for row in uegd}
    assert set(rows) == {"TAV", "T", "A", "V"}
    assert rows["TAV"] >= 0.6
    assert rows["TAV"] > max(rows["T"], rows["A"], rows["V"])
    assert min(rows["T"], rows["A"], rows["V"]) > 0.2  # each modality says something


def test_every_model_learns_something(result: Any) -> None:
    rows = result["report"]["rows"]
    floor = result["report"]["baseline"]["test"]["MAE"]["mean"]
    assert {row["model"] for row in rows} == {"uegd", "emt_dlfr", "glomo", "sugrm", "mmml"}
    fused = {row["model"]: row["test"] for row in rows if len(row["letters"]) > 1}
    assert all(test["MAE"]["mean"] < 0.92 * floor for test in fused.values())
    assert all(test["Corr"]["mean"] > 0.4 for test in fused.values())


def test_the_readme_shows_what_the_demo_prints(result: Any) -> None:
    """Row by row and column by column; other machines round otherwise, which training shows."""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    shown: dict[str, str] = {
        found[1]: found[2]
        for line in readme.splitlines()
        if (found := re.fullmatch(r" (\w[\w ]*?)((?: {2,}(?:[\d.]+|n/a)){8})", line))
    }
    report = result["report"]
    rows = [*report["rows"], report["baseline"], report["probe"]]
    assert list(shown) == [f"{row['model']} {row['letters']}".strip() for row in rows]
    for row in rows:
        numbers = shown[f"{row['model']} {row['letters']}".strip()].split()
        for (key, now), text in zip(row["test"].items(), numbers, strict=True):
            if now["mean"] is None:
                assert text == "n/a"
                continue
            trained = bool(row["seeds"])
            scale, near = (1, 0.15) if key in ("MAE", "Corr") else (100, 12)
            near = near if trained else 0.06 if scale == 100 else 0.001
            assert float(text) == pytest.approx(scale * now["mean"], abs=near), (row, key)


@pytest.mark.parametrize("page", ["commands", "store-format"])
def test_the_python_that_the_pages_show_runs(result: Any, place: Path, page: str) -> None:
    """On the stores of this run, whose digits are others where packages compute otherwise."""
    text = (Path(__file__).parent.parent / f"docs/{page}.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert "open_store" in code
    if find_spec("pandas") is None:  # which the page says that it needs
        code = "\n".join(line for line in code.splitlines() if "to_frame" not in line)
    own = {path.name[:-9]: path for path in (place / "features/demo").glob("*-tiny-*")}
    for name, store in own.items():
        part = next(store.glob("part-*")).name
        code = re.sub(rf"{name}-[0-9a-f]{{8}}(/part-[\w-]+)?", rf"{store.name}@\1", code)
        code = re.sub(r"@/part-[\w-]+", f"/{part}", code).replace("@", "")
    shown = subprocess.run(
        [sys.executable, "-P", "-c", f"import sedimental\n{code}"],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr


def test_every_layer_was_tried(result: Any, place: Path) -> None:
    assert result["sweep"]
    assert all(sweep for sweep in result["sweep"])
    assert (place / "runs/demo/sweep/layers-corr.svg").is_file()


def test_the_report_names_the_untrained_encoders(result: Any) -> None:
    page = Path(result["page"]).read_text(encoding="utf-8")
    for encoder in ("tiny-bert", "tiny-wavlm", "tiny-clip"):
        assert encoder in page
    assert "ntrained" in page


def test_the_report_looks_behind_the_numbers(result: Any) -> None:
    page = Path(result["page"]).read_text(encoding="utf-8")
    assert len(page.encode()) < 5_000_000
    assert "://" not in page
    for figure in (
        "rows-corr", "rows-mae", "scatter", "confusion", "training", "video", "gates-uegd",
        "gates-glomo", "layers", "map-pca", "trajectory", "sweep-corr", "sweep-mae",
    ):  # fmt: skip
        assert f'id="{figure}-title"' in page, figure
    assert page.count('src="data:image/jpeg;base64,') == 12  # the worst clips' faces
    worst = result["report"]["analyses"]["worst"]
    assert all(clip["text"] for clip in worst)


def test_faces_of_a_clip_are_decoded_once(result: Any, place: Path) -> None:
    worst = result["report"]["analyses"]["worst"]
    code = (
        "import sys; from pathlib import Path; from sedimental.config import load_config;"
        "from sedimental.extract.face_strips import face_strips;"
        f"found = face_strips(load_config(Path('pipeline.toml')), ['{worst[0]['id']}', 'unknown']);"
        "assert 'torch' not in sys.modules; sys.stdout.buffer.write(*found.values())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=place, capture_output=True, check=True
    )
    strip: Any = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR)
    assert strip.shape == (80, 6 * 83 - 3, 3)
    crops = [strip[:, 83 * k : 83 * k + 80].astype(float) for k in range(6)]
    assert all(crop.std() > 10 for crop in crops)  # a picture each


def test_without_media_or_faces_there_are_no_strips(place: Path, result: Any) -> None:
    clips = [clip["id"] for clip in result["report"]["analyses"]["worst"]]
    config = load_config(place / "pipeline.toml")
    texts = tuple(f for f in config.features if f.modality == "text")
    assert face_strips(config.model_copy(update={"features": texts}), clips) == {}
    elsewhere = config.cache.model_copy(update={"root": place / "nowhere"})
    assert face_strips(config.model_copy(update={"cache": elsewhere}), clips) == {}


def test_a_second_run_does_nothing_again(place: Path, result: Any) -> None:
    again = sedimental("run", cwd=place)
    assert [s["new"] for s in again["extract"]["stores"]] == [0, 0, 0]
    assert again["train"] == result["train"]
