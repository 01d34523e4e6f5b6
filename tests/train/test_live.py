"""Encoders trained along, from pipeline to report: untouched they equal the cache, and learn."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from notes import Notes
from safetensors.torch import load_file
from torch import Tensor

import sedimental
from sedimental.cache.runs import Run, list_runs, read_run
from sedimental.cache.store.store import open_store
from sedimental.config import (
    Config,
    ConfigError,
    load_config,
)
from sedimental.errors import RunError, SedimentalError
from sedimental.evaluate.output.html import to_html
from sedimental.extract.finetune.find import live_input
from sedimental.extract.streams import raw_inputs as item_streams
from sedimental.extract.streams.streams import AudioStream, TextStream
from sedimental.progress import Silent
from sedimental.train.data.dataset import Selection
from sedimental.train.fit.checkpoint import Checkpoint
from sedimental.train.fit.loop import fit, predict
from sedimental.train.fit.optimizer import groups_of
from sedimental.train.live_model import LiveModel
from sedimental.train.models import MODELS
from sedimental.train.models.shared.missing_frames import hidden_frames, incomplete
from sedimental.train.plan import Plan
from sedimental.train.predict import restore
from sedimental.train.robustness import robustness
from sedimental.train.run import train as plain_train
from sedimental.train.session import TrainSession, built

TEXT = ("bert", "roberta")
AUDIO = ("wavlm", "wavlm-base", "hubert", "hubert-base", "data2vec")

MakeConfig = Callable[..., Config]


def trained(config: Config) -> Run:
    [run] = plain_train(config, live=live_input)
    return run


STILL = "learning_rate = 0.0, weight_decay = 0.0, dropout = 0.0"


@pytest.mark.parametrize("audio", AUDIO)
@pytest.mark.parametrize("text", TEXT)
def test_untouched_live_encoders_predict_what_cached_layers_do(
    made: MakeConfig, text: str, audio: str
) -> None:
    """At rate 0 and without dropout, for every combination of live and cached."""
    lines = {"text_line": "layers = [-1, 0]", "audio_line": 'layers = "weighted"'}
    # live frames are normed, which cached ones are not
    plain = 'input_scaling = "none"\nlearning_rate = 1e-6\n'
    expected = trained(made(text, audio, live="", train=plain, **lines)).predictions.values
    assert np.ptp(expected) > 0.01
    for live in ("T", "A", "TA"):
        still = {
            key: f"{line}, {STILL}" if key[0].upper() in live else line
            for key, line in lines.items()
        }
        run = trained(made(text, audio, live=live, train=plain, **still))
        assert run.finetuned
        np.testing.assert_allclose(run.predictions.values, expected, atol=1e-4)


def opened(config: Config) -> tuple[TrainSession, Plan, Selection]:
    """A pipeline's one run, before it is trained."""
    shop = TrainSession(config, Silent(), live_input)
    [plan] = shop.plans
    return shop, plan, shop.open([plan]).select(plan.modalities)


def live_model(plan: Plan, data: Selection) -> LiveModel:
    model: Any = built(plan, data)
    assert isinstance(model, LiveModel)
    return model


def step_gradients(plan: Plan, data: Selection) -> list[Tensor]:
    model = live_model(plan, data).train()
    torch.manual_seed(0)
    output = model(data.batch(data.rows["train"]))
    (output.prediction - data.labels[data.rows["train"]]).abs().mean().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("audio", ["wavlm", "hubert-base"])
def test_a_batch_in_several_passes_is_still_one_step(made: MakeConfig, audio: str) -> None:
    found = []
    for budget in ("", ", budget = 1", ", budget = 9"):
        lines = {
            "text_line": f"layers = -1, dropout = 0.0{budget}",
            "audio_line": f'layers = "weighted", dropout = 0.0{budget}',
        }
        found.append(step_gradients(*opened(made(audio=audio, **lines))[1:]))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-5)


def test_items_are_what_extraction_reads(made: MakeConfig) -> None:
    cached, config = made(live=""), made(live="TA")
    tokens = live_input(config, "text").store
    store = next(p for p in config.corpus_cache.iterdir() if p.name.startswith("text-bert"))
    own = open_store(store)
    for clip in tokens.clips:
        ids = tokens.read([0], [clip]).values[0, :, 0]
        assert ids.astype(int).tolist() == own.side("token_ids", [clip]).tolist()
    assert cached.corpus_cache == config.corpus_cache
    sound = live_input(config, "audio")
    frames = dict(zip(sound.store.clips, sound.frames(sound.sizes()).tolist(), strict=True))
    store = next(p for p in config.corpus_cache.iterdir() if p.name.startswith("audio-wavlm-"))
    features = open_store(store)
    assert frames == dict(zip(features.clips, features.frames.tolist(), strict=True))


def test_sound_can_be_cut_to_its_first_seconds(made: MakeConfig) -> None:
    whole = live_input(made(), "audio")
    cut = live_input(made(audio_line="layers = -1, seconds = 1.5"), "audio")
    assert cut.sizes().max() == 24_000 < whole.sizes().max()
    _, plan, data = opened(made(audio_line="layers = -1, seconds = 1.5"))
    assert data.batch(data.rows["train"]).features["audio"].shape[1] <= 24_000
    live_model(plan, data)(data.batch(data.rows["train"]))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_with_its_encoders(made: MakeConfig, model: str) -> None:
    """Weights of encoders move, runs are known again, and the file holds what was trained."""
    settings = 'learning_rate = 1e-3\nwarmup = 0.0\nalso = ["Has0_acc_2"]\nprecision = "bf16"\n'
    small = {
        "emt_dlfr": "width = 8\nheads = 2\ndepth = 1\nmissing_rate = 0.3\n",
        "glomo": "width = 16\nheads = 2\nencoder_layers = 1\nfusion_feedforward = 16\n",
        "sugrm": "width = 8\nheads = 2\nrounds = 1\n",
        "mmml": 'heads = 4\nlayers = 1\nhead = 8\ncontext = "separate"\n',
        "mult": "width = 8\nheads = 2\nlayers = 1\nmemory_layers = 1\n",
        "tfr_net": "width = 8\nheads = 2\nlevels = 1\nmissing_rate = 0.3\n",
    }
    tables = f"[train.{model}]\n{small[model]}" if model in small else ""
    config = made(
        train=f'models = ["{model}"]\n{settings}',
        audio_line="layers = -1, learning_rate = 1e-3",
        text_line="layers = [-1, -2], learning_rate = 1e-3" if model == "glomo" else "layers = -1",
        tables=tables,
    )
    run = trained(config)
    assert run.row == f"{model} finetuned TA"
    assert np.isfinite(run.predictions.values).all()
    rival = run.rivals["Has0_acc_2"]
    best = max(run.history, key=lambda line: line.valid["Has0_acc_2"])
    assert rival.best_epoch == best.epoch
    assert rival.metrics["valid"]["Has0_acc_2"] == pytest.approx(best.valid["Has0_acc_2"])
    _, plan, data = opened(config)
    start, weights = live_model(plan, data), load_file(plan.folder / "weights.safetensors")
    names = {n for n, p in start.named_parameters() if p.requires_grad and n[:8] == "encoders"}
    stored = {n for n in weights if n.startswith("encoders")}
    assert names == stored
    assert not any("feature_extractor" in n for n in stored)
    moved = {n for n in names if not torch.equal(weights[n], start.get_parameter(n))}
    # at a rate of its own, softmax is blind to a bias of keys
    assert len(moved) > 0.9 * len(names), names - moved
    assert plan.finished() is not None
    again = start
    again.load_state_dict({k: v for k, v in weights.items() if not k.startswith("inputs.")})
    rows = torch.arange(len(data.table.ids))
    np.testing.assert_allclose(
        predict(again, data, rows).values, read_run(plan.folder).predictions.values, atol=1e-5
    )


def test_training_from_cached_blocks_is_training_from_words_and_sound(made: MakeConfig) -> None:
    lines = {"text_line": "layers = -1, top = 1", "audio_line": "layers = -1, top = 2"}
    config = made(rate=50, **lines)
    for modality in ("text", "audio"):
        assert live_input(config, modality).start == (2 if modality == "text" else 1)
    short = made(rate=10, **lines)
    assert live_input(short, "audio").start is None
    assert "10 of the encoder's 50 frames" in live_input(short, "audio").note
    _, plan, data = opened(config)
    fast = step_gradients(plan, data)
    whole = replace(plan, inputs=tuple(replace(one, **begun(config, one)) for one in plan.inputs))  # type: ignore[type-var]
    shop = TrainSession(config, Silent(), live_input)
    slow = step_gradients(whole, shop.open([whole]).select(plan.modalities))
    assert len(fast) == len(slow)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)
    assert trained(config).finetuned


def begun(config: Config, one: Any) -> dict[str, Any]:
    """What makes a live input begin at words or sound."""
    table = next(f for f in config.features if f.modality == one.modality)
    stream: Any = (TextStream if one.modality == "text" else AudioStream)(table, "float32")  # type: ignore[arg-type]
    if one.modality == "text":
        spec = item_streams.token_spec(stream.checkpoint, table, stream.tokenizer)  # type: ignore[arg-type]
    else:
        spec = item_streams.waveform_spec(stream.processing)
    return {"store": open_store(item_streams.items_folder(config, spec)), "start": None}


def test_missing_words_are_unknown_before_they_are_read(made: MakeConfig) -> None:
    _, plan, data = opened(
        made(
            audio="",
            live="T",
            train='models = ["emt_dlfr"]\ninput_scaling = "none"\n',
            tables="[train.emt_dlfr]\nwidth = 8\nheads = 2\ndepth = 1\nmissing_rate = 0.5\n",
        )
    )
    model = live_model(plan, data).eval()
    batch = data.batch(data.rows["test"])
    gone = hidden_frames(batch.masks["text"], batch.index, "text", 0.5, 111)
    assert gone.any()
    assert not gone[:, 0].any()
    last = batch.masks["text"].sum(dim=1) - 1
    assert not gone[torch.arange(len(last)), last].any()  # [SEP] stays
    encoder: Any = model.encoders["text"]
    ids = batch.features["text"].where(~gone, encoder.unknown)
    sizes = batch.live["text"].tolist()
    with torch.no_grad():
        expected = encoder(ids, sizes)[:, 0]
        read = model.read(batch)
        found = read.reread["text"](gone)
        outer = model.read(incomplete(batch, 0.5)).features["text"]
    real = batch.masks["text"]
    torch.testing.assert_close(found[real], expected[real])
    torch.testing.assert_close(outer[real], expected[real])
    assert not torch.allclose(read.features["text"][real], expected[real])
    assert "text_states_zeroed" not in model.outputs()
    assert "text_tokens_masked" in model.outputs()


def test_clips_are_incomplete_in_training_too(made: MakeConfig) -> None:
    keys = {"text_line": f"layers = -1, {STILL}", "audio_line": f"layers = -1, {STILL}"}
    whole = trained(made(**keys))
    lossy = trained(made(train="missing_rate = 0.6", **keys))
    assert lossy.key != whole.key
    assert lossy.history[0].train_loss != pytest.approx(whole.history[0].train_loss, rel=1e-4)
    assert np.abs(lossy.predictions.values - whole.predictions.values).max() > 1e-3


def test_what_was_said_before_is_read_in_one_pass(made: MakeConfig) -> None:
    _, plan, data = opened(
        made(
            train='models = ["mmml"]\n',
            audio_line="layers = -1",
            tables='[train.mmml]\nheads = 4\nlayers = 1\nhead = 8\ncontext = "separate"\n',
        )
    )
    rows = torch.arange(len(data.table.ids))
    batch = data.batch(rows, previous=2)
    own = data.batch(rows)
    previous = data.table.previous
    assert previous is not None
    assert (previous >= 0).any()
    for row in range(len(rows)):
        before = [int(k) for k in previous[row][:2] if k >= 0]
        ids = [own.features["text"][k, : int(own.live["text"][k])].tolist() for k in before][::-1]
        joined = [*ids[0][:1], *(n for one in ids for n in one[1:])] if ids else []
        size = int(batch.previous[0].live["text"][row])
        assert batch.previous[0].features["text"][row, :size].tolist() == joined
        assert not batch.previous[1].masks["text"][row].any()
        sound = before[:1]
        assert batch.previous[0].masks["audio"][row].any() == bool(sound)
    read: list[str] = []
    model = live_model(plan, data).eval()
    for m in ("text", "audio"):
        model.encoders[m].register_forward_pre_hook(lambda *_, m=m: read.append(m))
    with torch.no_grad():
        model(batch)
    assert model.previous_clips == 2
    assert read.count("text") == 2  # own words, and those before: the step further back has none


def test_groups_have_the_rates_and_decay_of_the_papers(made: MakeConfig) -> None:
    published = {
        ("emt_dlfr", "mosi"): (5e-5, 1e-3, 0.0),
        ("emt_dlfr", "sims"): (2e-5, 1e-3, 0.0),
        ("sugrm", "mosei"): (5e-5, 1e-3, 0.0),
        ("self_mm", "sims"): (5e-5, 0.01, 0.0),
        ("mmim", "mosi"): (5e-5, 1e-4, 0.0),
        ("glomo", "mosei"): (1e-5, 1e-4, 0.0),
        ("mmml", "mosi"): (1e-5, 0.01, 0.01),
    }
    for (name, corpus), (rate, decay, norms) in published.items():
        tables = f'[train.{name}]\npreset = "{corpus}"\n' + (
            "width = 32\nheads = 4\n" if name == "mmml" else ""
        )
        _, plan, data = opened(
            made(live="T", train=f'models = ["{name}"]\n', audio_line="layers = -1", tables=tables)
        )
        model = live_model(plan, data)
        matrices, rest = groups_of(model)[-2:]
        assert matrices.rate * plan.settings.learning_rate == pytest.approx(rate)
        assert (matrices.weight_decay, rest.weight_decay) == (decay, norms)
        counted = sum(p.numel() for g in (matrices, rest) for p in g.parameters)
        assert counted == sum(p.numel() for p in model.encoders.parameters())


@pytest.mark.parametrize(
    ("train", "inputs", "fault"),
    [
        ("", 'text = {encoder = "tiny-bert", live = true}', "text.live: an encoder is trained in"),
        ('mode = "finetune"', 'text = {encoder = "tiny-bert"}', 'mode: "finetune" needs an input'),
        (
            'mode = "finetune"',
            'vision = {encoder = "tiny-clip", live = true}',
            "vision.live: faces are read from cached layers only",
        ),
        ("", 'text = {encoder = "tiny-bert", top = 2}', "text.top: means something with live"),
        (
            'mode = "finetune"',
            'text = {encoder = "tiny-bert", live = true, seconds = 6}',
            "text.seconds: audio alone",
        ),
        (
            'mode = "finetune"',
            'text = {encoder = "tiny-bert", live = true, top = 1, lora = 4}',
            "text.lora: trains adapters in place",
        ),
    ],
)
def test_faults_of_live_inputs_name_the_key(
    tmp_path: Path, train: str, inputs: str, fault: str
) -> None:
    file = tmp_path / "pipeline.toml"
    tables = "".join(
        f'[[features]]\nmodality = "{m}"\nencoder = "tiny-{e}"\n'
        for m, e in (("text", "bert"), ("audio", "wavlm"), ("vision", "clip"))
    )
    file.write_text(f"{tables}[train]\n{train}\n[train.inputs]\n{inputs}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=fault):
        load_config(file)


def test_what_cannot_be_trained_is_said(made: MakeConfig) -> None:
    config = made()
    with pytest.raises(RunError, match="nobody handed over its live encoder"):
        plain_train(config)
    whisper = config.features[1].model_copy(update={"encoder": "tiny-whisper"})
    line = config.train.inputs.audio
    assert line is not None
    inputs = config.train.inputs.model_copy(
        update={"audio": line.model_copy(update={"encoder": "tiny-whisper"})}
    )
    section = config.train.model_copy(update={"inputs": inputs})
    other = config.model_copy(update={"features": (config.features[0], whisper), "train": section})
    with pytest.raises(SedimentalError, match="can be live; read this one from the cache"):
        live_input(other, "audio")


def test_frozen_and_finetuned_runs_lie_side_by_side(made: MakeConfig) -> None:
    for live in ("", "TA"):
        trained(made(live=live, name="both", train='also = ["MAE"]'))
    config = made(live="", name="both")
    report = sedimental.evaluate(config)
    assert [row.name for row in report.rows] == ["uegd TA", "uegd finetuned TA"]
    assert [row.training for row in report.rows] == ["frozen", "fine-tuned"]
    assert len(list(list_runs(config.experiment))) == 2
    assert not any("different" in caution.text for caution in report.cautions)
    [pair] = report.tuned
    assert (pair.frozen.name, pair.finetuned.name) == ("uegd TA", "uegd finetuned TA")
    page = to_html(report)
    assert "Frozen against fine-tuned" in page
    assert ", trained along" in page
    assert "uegd finetuned TA, by MAE" in page


def test_items_that_do_not_fit_in_memory_are_read_batch_by_batch(made: MakeConfig) -> None:
    lines = {"text_line": f"layers = -1, {STILL}", "audio_line": f"layers = -1, {STILL}"}
    runs = [trained(made(train=memory, **lines)) for memory in ("", "memory_mb = 1")]
    np.testing.assert_allclose(runs[0].predictions.values, runs[1].predictions.values, atol=1e-6)


def test_a_run_goes_on_from_its_checkpoint(
    made: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its second epoch; the weights that are never trained are in no checkpoint."""
    monkeypatch.setattr("sedimental.train.fit.checkpoint.EVERY", 0.0)
    more = 'also = ["MAE"]\nlearning_rate = 1e-3'
    config = made(train=more, text_line="layers = -1, top = 1")
    straight = trained(config)
    _, plan, data = opened(made(train=more, text_line="layers = -1, top = 1"))

    class Killed(Exception): ...

    epochs: list[int] = []

    def die(_: object) -> None:
        epochs.append(1)
        if len(epochs) == 1:
            raise Killed

    kept = Checkpoint(plan.folder.with_name("kept.safetensors"), plan.key)
    model = live_model(plan, data)
    with pytest.raises(Killed):
        fit(model, data, plan.settings, plan.seed, "mosi", die, kept)
    assert not any("embeddings" in name for name in load_file(str(kept.path)))
    again = live_model(plan, data)
    fitted = fit(again, data, plan.settings, plan.seed, "mosi", lambda _: None, kept)
    assert [e.train_loss for e in fitted.history] == [e.train_loss for e in straight.history]
    assert fitted.rivals["MAE"].best_epoch == straight.rivals["MAE"].best_epoch
    again.load_state_dict(fitted.state)
    rows = torch.arange(len(data.table.ids))
    found = predict(again, data, rows).values
    np.testing.assert_allclose(found, straight.predictions.values, atol=1e-6)


def test_what_both_modes_cost_is_told_before(made: MakeConfig) -> None:
    progress = Notes()
    [run] = sedimental.train(made(), progress)
    told = next(line for line in progress.notes if ": a seed with" in line)
    assert told.startswith("uegd finetuned TA: a seed with text and audio fine-tuned: ")
    assert f"{run.parameters / 1e6:.3g} M weights" in told
    assert "frozen: " in told
    progress.notes.clear()
    [frozen] = sedimental.train(made(live=""), progress)
    told = next(line for line in progress.notes if "a seed on frozen" in line)
    assert f"a seed on frozen encoders: {frozen.parameters / 1e6:.3g} M weights" in told
    assert "with text and audio fine-tuned, by estimate: " in told
    # the probe leaves no trace in the numbers
    [quiet] = plain_train(made(live=""))
    np.testing.assert_array_equal(quiet.predictions.values, frozen.predictions.values)


def test_robustness_takes_words_away_before_they_are_read(made: MakeConfig) -> None:
    config = made(text_line="layers = -1", audio_line="layers = -1")
    run = trained(config)
    [file] = robustness(config, [0.0, 0.5, 1.0], live=live_input)
    _, plan, data = opened(config)
    model = restore(plan, data)
    with np.load(file) as kept:
        cases, values = json.loads(str(kept["head"]))["cases"], kept["values"]
    by_case = {(c["kind"], c["of"], c["rate"]): v[0] for c, v in zip(cases, values, strict=True)}
    untouched = run.predictions.of("test")[1]
    np.testing.assert_allclose(by_case["rate", "all", 0.0], untouched, atol=1e-5)
    batch = data.batch(data.rows["test"])
    unknown: Any = model.encoders["text"].unknown  # type: ignore[attr-defined]
    ids, sizes = batch.features["text"].clone(), batch.live["text"]
    for row, size in zip(ids, sizes.tolist(), strict=True):
        row[1 : size - 1] = unknown
    model.eval()
    with torch.no_grad():
        expected = model(replace(batch, features={**batch.features, "text": ids})).prediction
    np.testing.assert_allclose(by_case["rate", "T", 1.0], expected.numpy(), atol=1e-5)
    assert np.ptp(by_case["drop", "T", 1.0] - untouched) > 0
    cut = made(text_line="layers = -1, top = 1", audio_line="layers = -1")
    trained(cut)
    assert robustness(cut, [0.5], live=live_input) == ()


def test_a_clip_without_words_or_sound_is_no_clip_of_theirs(made: MakeConfig) -> None:
    _, plan, data = opened(made(text_line="layers = -1", audio_line="layers = -1"))
    model = live_model(plan, data).eval()
    with torch.no_grad():
        both = model(data.batch(torch.tensor([-1, 3, 0]))).prediction
        alone = model(data.batch(torch.tensor([3]))).prediction
        nobody = model.read(data.batch(torch.tensor([-1, -1])))
    torch.testing.assert_close(both[1:2], alone, atol=1e-5, rtol=1e-5)
    for m in ("text", "audio"):
        assert not nobody.masks[m].any()
        assert not nobody.features[m].any()
