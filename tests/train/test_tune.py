"""Random search: on validation alone, the same trials whatever test clips say, resumed, kept."""

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sedimental.cache.corpus.corpus_table import cached_manifest
from sedimental.cache.manifest import Manifest
from sedimental.cache.runs import list_runs, read_run
from sedimental.cache.trials import Search
from sedimental.cli import app
from sedimental.config import Config, ConfigError, load_config
from sedimental.model_table import MODELS
from sedimental.train.models import model_options, model_recipe, module_of
from sedimental.train.models.ranges import KNOWN, Choice, LogUniform, Uniform, ranges_of
from sedimental.train.sweep.tune import tune

MakeFeatures = Callable[..., Path]
RUNNER = CliRunner()
TABLES = """
[train]
models = ["lf_dnn"]
seeds = [7, 8]
epochs = 2
tune = 3
[train.lf_dnn]
hidden = 8
batch_size = 16
"""


def poisoned(config: Config, value: float) -> Manifest:
    """The corpus, `value` the label of every test clip."""
    manifest = cached_manifest(config)
    clips = (replace(c, label=value) if c.split == "test" else c for c in manifest.clips)
    return replace(manifest, clips=tuple(clips))


def told(searches: tuple[Search, ...]) -> object:
    """All of them but for times."""
    return [
        (s.best, [(t.settings, t.value, [e.train_loss for e in t.history]) for t in s.trials])
        for s in searches
    ]


def test_labels_of_test_clips_are_never_read(make_features: MakeFeatures) -> None:
    config = load_config(make_features(TABLES, clips=40))
    found = []
    for place, value in enumerate((0.0, math.nan, math.inf, 1e30)):
        runs = config.runs.model_copy(update={"name": f"poison-{place}"})
        own = config.model_copy(update={"runs": runs})
        found.append(told(tune(own, manifest=poisoned(config, value))))
        for folder in list_runs(own.experiment / "tune" / "lf_dnn.TAV.001"):
            predicted = read_run(folder).predictions
            assert set(predicted.splits) == {"train", "valid"}
            assert not np.isnan(predicted.values).any()
    assert found[0] == found[1] == found[2] == found[3]


def test_every_trial_is_kept_and_none_is_trained_twice(
    make_features: MakeFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(make_features(TABLES, clips=40))
    [first] = tune(config, 2)
    folders = [config.experiment / trial.folder for trial in first.trials]
    before = [(f / "run.json").stat().st_mtime_ns for f in folders]
    [more] = tune(config)
    assert more.trials[:2] == first.trials
    assert [(f / "run.json").stat().st_mtime_ns for f in folders] == before
    kept = json.loads((config.experiment / "tune" / "lf_dnn.TAV.json").read_text())
    assert [t["settings"] for t in kept["trials"]] == [dict(t.settings) for t in more.trials]
    assert all(len(t["history"]) == 2 and t["seed"] == 7 for t in kept["trials"])
    assert list(list_runs(config.experiment)) == []  # no report shows them
    values = [t.value for t in more.trials]
    assert more.best == values.index(min(values))
    assert more.trials[0].settings == {}
    for trial in more.trials[1:]:  # what the pipeline sets is not drawn
        assert {"learning_rate", "weight_decay", "dropout"} <= trial.settings.keys()
        assert not {"hidden", "batch_size", "epochs"} & trial.settings.keys()
    assert tomllib.loads(more.snippet())["train"]["lf_dnn"] == {
        "hidden": 8,
        "batch_size": 16,
        **more.trials[more.best].settings,
    }


def test_what_is_pasted_trains_to_the_same_curve(make_features: MakeFeatures) -> None:
    pipeline = make_features(TABLES, clips=40)
    [search] = tune(load_config(pipeline))
    best = max(search.trials, key=lambda t: len(t.settings))
    text = pipeline.read_text()
    table = replace(search, best=best.number).snippet()
    start, end = text.index("[train.lf_dnn]"), text.index("[train.inputs]")
    pipeline.write_text(f"{text[:start]}{table}\n{text[end:]}")
    [again] = tune(load_config(pipeline), 1)
    assert [e.valid_loss for e in again.trials[0].history] == [e.valid_loss for e in best.history]


def test_a_trial_that_diverges_is_kept_as_failed(make_features: MakeFeatures) -> None:
    steep = 'hidden = 8\nlearning_rate = 1e30\nwarmup = 0.0\nloss = "l2"'
    tables = TABLES.replace("hidden = 8", steep)
    [search] = tune(load_config(make_features(tables, clips=40)), 2)
    assert ["lf_dnn TAV seed 7" in trial.failure for trial in search.trials] == [True, True]
    assert search.best is None
    assert search.snippet() == ""


def test_everything_set_leaves_nothing_to_draw(make_features: MakeFeatures) -> None:
    tables = TABLES + "learning_rate = 1e-3\nweight_decay = 0.0\ndropout = 0.1\n"
    tables += "fusion_dropout = 0.1\n"
    with pytest.raises(ConfigError, match=r"train\.lf_dnn: every key that could be drawn is set"):
        tune(load_config(make_features(tables, clips=40)), 2)


@pytest.mark.parametrize("name", MODELS)
def test_ranges_are_of_keys_that_the_model_has(name: str) -> None:
    options, recipe = model_options(name, {}), model_recipe(name, {})
    ranges = ranges_of(module_of(name), name, options, recipe.learning_rate)
    assert ranges.keys() >= {"learning_rate", "batch_size", *KNOWN.get(name, ({}, ""))[0]}
    for key, one in ranges.items():
        extremes = one.values if isinstance(one, Choice) else (one.low, one.high)
        for value in extremes:
            drawn = {key: value}
            if key == "width":
                drawn["heads"] = 2
            known = {k: v for k, v in drawn.items() if hasattr(options, k) or k in vars(recipe)}
            assert key in known
            model_options(name, known)
            model_recipe(name, known)


def test_draws_keep_to_their_ranges() -> None:
    random = np.random.default_rng(0)
    wide = [LogUniform(1e-4, 1e-2).draw(random) for _ in range(300)]
    assert all(isinstance(x, float) and 1e-4 <= x <= 1e-2 for x in wide)
    assert 0.4 < np.mean([float(x) < 1e-3 for x in wide]) < 0.6
    assert all(0.2 <= float(Uniform(0.2, 0.3).draw(random)) <= 0.3 for _ in range(50))
    assert {Choice((1, 2)).draw(random) for _ in range(50)} == {1, 2}


def test_the_command_prints_what_to_paste(make_features: MakeFeatures) -> None:
    pipeline = make_features(TABLES, clips=40)
    shown = RUNNER.invoke(app, ["tune", "-c", str(pipeline), "--trials", "2"])
    assert shown.exit_code == 0, shown.output
    assert "[train.lf_dnn]\nhidden = 8\nbatch_size = 16" in shown.stdout
    [found] = json.loads(
        RUNNER.invoke(app, ["tune", "-c", str(pipeline), "--trials", "2", "--json"]).stdout
    )
    assert found["paste"] in shown.stdout
    assert len(found["trials"]) == 2
