"""What Python's functions give back shows itself: short as text, a table in a notebook, a frame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sedimental
from sedimental.cache.store.store import list_stores
from sedimental.config import Config
from sedimental.errors import SedimentalError
from sedimental.result_table import LINES, ResultTable


@pytest.fixture(scope="module")
def results(made: Callable[..., Config]) -> dict[str, Any]:
    """Of every function that gives a result back."""
    config = made(
        audio="", live="", train="modalities = ['T']\nmodels = ['uegd', 'lf_dnn']", name="shown"
    )
    config = config.model_copy(
        update={"train": config.train.model_copy(update={"epochs": 1, "seeds": (1, 2)})}
    )
    doctor = sedimental.doctor(config, probe=False)
    extracted, trained = sedimental.extract(config), sedimental.train(config)
    report = sedimental.evaluate(config)
    clip = next(DEMO.glob("Raw/*/0001.mp4"))
    return {
        "config": config,
        "doctor": doctor,
        "extract": extracted,
        "train": trained,
        "run": trained[0],
        "probe": sedimental.probe(config),
        "runs": sedimental.runs(config),
        "report": report,
        "compare": sedimental.compare("uegd T", "lf_dnn T", config),
        "predict": sedimental.predict(
            "uegd T", sedimental.NewClip(clip, "Well."), experiment=config.experiment
        ),
        "figure": sedimental.figures(report)[0],
        "store": sedimental.open_store(list_stores(config.cache.root)[0]),
    }


def test_no_result_fills_a_screen(results: dict[str, Any]) -> None:
    """Friction 11: repr(report) was 560,597 characters."""
    for name, result in results.items():
        text = repr(result)
        assert len(text.splitlines()) <= 10, name
        assert len(text) < 2000, name
    assert "MAE" in repr(results["report"])
    assert "16 clips" in repr(results["doctor"])
    assert repr(results["store"]).startswith("Store(text bert: 16 clips, ")
    assert "lf_dnn" in repr(results["train"])
    assert "… and" in repr(_Many())


def test_notebooks_get_tables_and_figures(results: dict[str, Any]) -> None:
    for name, result in results.items():
        if isinstance(result, ResultTable):
            page = result._repr_html_()
            assert page.count("<table>") == 1, name
            assert page.count("<tr>") == 1 + len(result.records()), name
    assert results["figure"]._repr_html_().count("<svg") == 1
    assert "&lt;b&gt;" in _Many()._repr_html_()  # names are text
    assert isinstance(results["train"], tuple)
    assert results["train"][1].seed == 2


def test_a_frame_of_pandas_or_the_line_that_installs_it(results: dict[str, Any]) -> None:
    try:
        import pandas
    except ImportError:
        with pytest.raises(SedimentalError, match="pip install pandas"):
            results["report"].to_frame()
        return
    frame = results["report"].to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert {"uegd", "lf_dnn"} < set(frame["model"])
    assert frame["MAE"].notna().all()
    assert len(results["train"].to_frame()) == 4


DEMO = Path(sedimental.__path__[0]) / "extract/corpora/demo"


class _Many(ResultTable):
    @property
    def title(self) -> str:
        return "many"

    def records(self) -> list[dict[str, object]]:
        return [{"number": k, "name": "<b>x</b>"} for k in range(LINES + 3)]
