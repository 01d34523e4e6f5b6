"""Self-MM: its heads, losses and generated labels against literal ones, clip by clip."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sedimental.cache.spec import MODALITIES, Modality
from sedimental.config import load_config
from sedimental.train.models import build, model_options
from sedimental.train.models.self_mm import ENCODER, PRESETS, RECIPES, Options, SelfMM
from sedimental.train.models.shared.hooks import Training
from sedimental.train.models.shared.interface import Batch, InputShape, Output
from sedimental.train.models.sugrm.label_generator import LabelMemory
from sedimental.train.run import train

MakeFeatures = Callable[..., Path]
WIDTHS: dict[Modality, int] = {"text": 5, "audio": 4, "vision": 3}
SMALL = Options(fusion_width=7, text_width=4, audio_width=3, vision_width=2, dropout=0.0)
CLIPS = 12


def batch_of(rows: Tensor, seed: int = 0) -> Batch:
    """Those clips of a made-up corpus; two have no sound, labels are 0 among others."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (CLIPS,), generator=generator)
    mask = torch.arange(6) < lengths.unsqueeze(1)
    x = {m: torch.randn(*mask.shape, w, generator=generator) for m, w in WIDTHS.items()}
    masks = {m: mask.clone() for m in WIDTHS}
    masks["audio"][[1, 4]] = False
    labels = torch.linspace(-2, 3, CLIPS).mul(2).round().div(2)
    return Batch(
        {m: v[rows] for m, v in x.items()},
        {m: v[rows] for m, v in masks.items()},
        labels[rows],
        rows,
    )


def made(options: Options = SMALL, modalities: tuple[Modality, ...] = MODALITIES) -> SelfMM:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return SelfMM(options, {m: InputShape(WIDTHS[m]) for m in modalities})


def begun(model: SelfMM) -> Batch:
    whole = batch_of(torch.arange(CLIPS))
    model.begin(Training(CLIPS, whole.index, whole.labels, seed=0))
    return whole


def test_heads_read_the_vectors_of_modalities() -> None:
    model, batch = made().eval(), batch_of(torch.arange(CLIPS))
    output = model(batch)
    vectors = [model.encoders[m](batch.features[m], batch.masks[m]) for m in MODALITIES]
    assert torch.equal(vectors[0], batch.features["text"][:, 0])  # [CLS]
    assert [v.shape[1] for v in vectors] == [5, 16, 32]
    joint = torch.cat(vectors, dim=1)
    fusion = model.fusion.space[1]
    fused = (joint @ fusion.weight.T + fusion.bias).clamp(min=0)  # type: ignore[operator]
    score = fused @ model.fusion.score.weight[0] + model.fusion.score.bias
    torch.testing.assert_close(output.representations["fused"], fused)
    torch.testing.assert_close(output.prediction, score)
    for m, vector in zip(MODALITIES, vectors, strict=True):
        feature, own = model.heads[m](vector)
        torch.testing.assert_close(output.extras[f"score_{m}"], own.detach())
        torch.testing.assert_close(output.representations[m], feature.detach())


def distance(a: list[float], b: list[float]) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


class Literal:
    """The label generator in plain Python: four banks, eight centres, a clip at a time."""

    def __init__(self, truth: list[float], exclude_zero: bool) -> None:
        self.truth, self.limit = truth, max(abs(y) for y in truth)
        self.exclude_zero = exclude_zero
        self.labels = {m: list(truth) for m in MODALITIES}
        self.banks: dict[str, dict[int, list[float]]] = {m: {} for m in ("fused", *MODALITIES)}

    def centres(self, space: str) -> tuple[list[float], list[float]]:
        bank = self.banks[space]
        width = len(next(iter(bank.values())))
        labels = self.truth if space == "fused" else self.labels[space]  # type: ignore[index]  # P1: each its own
        positive = [y > 0 or (y == 0 and not self.exclude_zero) for y in labels]
        found = []
        for wanted in (True, False):
            kind = [k for k, y in enumerate(labels) if (positive[k] if wanted else y < 0)]
            rows = [bank.get(k, [0.0] * width) for k in kind]
            found.append([sum(column) / len(rows) for column in zip(*rows, strict=True)])
        return found[0], found[1]

    def step(self, batch: Batch, features: dict[str, Tensor], epoch: int) -> None:
        rows = batch.index.tolist()
        if epoch > 1:
            centres = {space: self.centres(space) for space in self.banks}
            for place, clip in enumerate(rows):
                nearer = {}
                for space, (positive, negative) in centres.items():
                    own = features[space][place].tolist()
                    near, far = distance(own, positive), distance(own, negative)
                    nearer[space] = (far - near) / near
                y = self.truth[clip]
                for m in MODALITIES:
                    if not batch.masks[m][place].any():
                        continue
                    alpha = nearer[m] / nearer["fused"]
                    new = 0.5 * alpha * y + 0.5 * (y + nearer[m] - nearer["fused"])
                    new = min(max(new, -self.limit), self.limit)
                    old = self.labels[m][clip]
                    share = (epoch - 1) / (epoch + 1)
                    self.labels[m][clip] = share * old + 2 / (epoch + 1) * new
        for space, bank in self.banks.items():
            bank |= dict(zip(rows, features[space].tolist(), strict=True))


@pytest.mark.parametrize("exclude_zero", [True, False])
def test_labels_are_those_of_a_literal_generator_over_epochs(exclude_zero: bool) -> None:
    model = made(replace(SMALL, exclude_zero=exclude_zero)).train()
    whole = begun(model)
    assert (whole.labels == 0).any()
    literal = Literal(whole.labels.tolist(), exclude_zero)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    generator = torch.Generator().manual_seed(5)
    for epoch in range(1, 6):
        for rows in torch.randperm(CLIPS, generator=generator).split(5):
            batch = batch_of(rows)
            output = model(batch)
            loss = (output.prediction - batch.labels).abs().mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss + torch.stack([*output.losses.values()]).sum())
            optimizer.step()
            with torch.no_grad():
                model.after_step(batch, output, epoch)
            literal.step(batch, dict(output.representations), epoch)
            for m in MODALITIES:
                own = model.memory.of(torch.arange(CLIPS))[MODALITIES.index(m)]
                torch.testing.assert_close(
                    own, torch.tensor(literal.labels[m]), rtol=1e-3, atol=1e-3
                )
                assert own.abs().max() <= 3
    moved = model.memory.of(torch.arange(CLIPS)) - whole.labels
    assert moved.abs().amax(dim=1).min() > 0.05
    assert not moved[1, [1, 4]].any()  # they have no sound


def test_zero_labels_change_the_centres_only_if_they_count() -> None:
    with_zero, without = made(replace(SMALL, exclude_zero=False)), made()
    whole = begun(with_zero)
    begun(without)
    zero = whole.labels == 0
    assert not without.memory.shares[:2, zero].any()
    assert (with_zero.memory.shares[0, zero] > 0).all()
    torch.testing.assert_close(without.memory.shares[:2].sum(dim=1), torch.ones(2))


def test_unimodal_losses_are_weighted_by_how_far_labels_lie_apart() -> None:
    model = made().train()
    begun(model)
    batch = batch_of(torch.tensor([0, 1, 4, 7, 9]))
    assert all(not term for term in model(batch).losses.values())  # labels are equal as yet
    with torch.no_grad():
        for epoch in (1, 2, 3):
            model.after_step(batch, model(batch), epoch)
    output = model(batch)
    for m in MODALITIES:
        total, y_s = 0.0, output.extras[f"label_{m}"].tolist()
        for k, y_m in enumerate(batch.labels.tolist()):
            if batch.masks[m][k].any():
                off = abs(float(output.extras[f"score_{m}"][k]) - y_s[k])
                total += math.tanh(abs(y_s[k] - y_m)) * off
        assert output.losses[f"unimodal_{m}"].item() == pytest.approx(total / 5, rel=1e-5)
        assert total > 0


def test_labels_go_on_from_a_checkpoint() -> None:
    model = made().train()
    whole = begun(model)
    with torch.no_grad():
        for epoch in (1, 2):
            model.after_step(whole, model(whole), epoch)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        again = made().train()
        again.load_state_dict(state)
        for one in (model, again):
            one.after_step(whole, one(whole), 3)
    assert torch.equal(model.memory.labels, again.memory.labels)
    assert not torch.equal(model.memory.labels, state["memory.labels"])


def test_some_tasks_alone_and_none() -> None:
    model = made(replace(SMALL, unimodal_tasks=("vision", "text"))).train()
    batch = begun(model)
    assert set(model(batch).losses) == {"unimodal_text", "unimodal_vision"}
    none = made(replace(SMALL, unimodal_tasks=())).train()
    begun(none)
    output: Output = none(batch)
    none.after_step(batch, output, 1)
    assert not output.losses
    assert not none.outputs()
    with pytest.raises(ValueError, match="names a modality twice"):
        Options(unimodal_tasks=("text", "text"))


def test_rates_are_those_of_the_corpora() -> None:
    rate = RECIPES["mosei"].learning_rate
    rest, audio, vision = made(PRESETS["mosei"]).groups()
    rates = [group.rate * rate for group in (rest, audio, vision)]
    assert rates == pytest.approx([1e-3, 5e-3, 1e-4])
    assert len(audio.parameters) == len(vision.parameters) == 4
    assert [RECIPES[c].batch_size for c in ("mosi", "mosei", "sims")] == [16, 32, 32]
    assert ENCODER.learning_rate == 5e-5


def test_it_beats_the_mean_of_the_labels(make_features: MakeFeatures) -> None:
    table = '[train]\nmodels = ["self_mm"]\nseeds = [1]\nepochs = 20\nlearning_rate = 5e-3\n'
    config = load_config(make_features(f"{table}accumulate = 1\n[train.self_mm]\ntext = 'mean'\n"))
    (run,) = train(config)
    truth, said = run.predictions.of("test")
    mean = run.predictions.of("train")[0].mean()
    assert np.abs(said - truth).mean() < 0.7 * np.abs(mean - truth).mean()
    labels = run.outputs["label_vision"]
    known = np.isfinite(labels)
    assert known.sum() == len(run.predictions.of("train")[0])
    assert np.abs(labels[known]).max() <= np.abs(run.predictions.of("train")[0]).max() + 1e-6
    assert not np.allclose(labels[known], run.predictions.of("train")[0])


# --- P8: the rows of SUGRM's Table 4 on Self-MM ---------------------------------------------------


@pytest.mark.parametrize(
    "row", [{"recalibrate": True}, {"sequence": "spt"}, {"labels": "sugrm"}], ids=str
)
@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "vision"), ("audio",)])
def test_rows_of_sugrms_table_4(row: dict[str, Any], modalities: tuple[Modality, ...]) -> None:
    wide = replace(SMALL, fusion_width=16, text_width=8, audio_width=8, vision_width=8)
    plain, model = made(wide, modalities), made(replace(wide, **row), modalities).train()
    whole = begun(model)
    named = {name.partition(".")[0] for name, _ in model.named_parameters()}
    before = {name.partition(".")[0] for name, _ in plain.named_parameters()}
    assert named - before == {*(["recalibration"] if "recalibrate" in row else ())} | {
        *(["sequence"] if "sequence" in row else ())
    }
    grouped = [id(w) for group in model.groups() for w in group.parameters]
    assert sorted(grouped) == sorted(id(w) for w in model.parameters())
    for epoch in (1, 2, 3):
        output = model(whole)
        model.after_step(whole, output, epoch)
    output = model(whole)
    loss = output.prediction.square().mean() + sum(output.losses.values(), torch.zeros(()))
    torch.autograd.backward(loss)
    silent = [n for n, w in model.named_parameters() if w.grad is None or not w.grad.any()]
    assert not silent
    moved = [output.extras[f"label_{m}"] - whole.labels for m in model.tasks]
    assert torch.stack(moved).abs().max() > 0


def test_recalibrated_self_mm_reads_gated_frames() -> None:
    """Row "+ MRM": a modality's frames times 2 sigmoid(E_s), then Self-MM as it is."""
    model = made(replace(SMALL, recalibrate=True)).eval()
    assert model.recalibration is not None
    whole = batch_of(torch.arange(6))
    means = [
        (whole.features[m] * whole.masks[m].unsqueeze(2)).sum(dim=1)
        / whole.masks[m].sum(dim=1, keepdim=True).clamp(min=1)
        for m in MODALITIES
    ]
    z = torch.relu(model.recalibration.squeeze(torch.cat(means, dim=1)))
    gates = {m: 2 * torch.sigmoid(model.recalibration.excite[m](z)) for m in MODALITIES}
    shown = {m: x * gates[m].unsqueeze(1) for m, x in whole.features.items()}
    plain = made(SMALL).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    wanted = plain(replace(whole, features=shown)).prediction
    torch.testing.assert_close(model(whole).prediction, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["self_mm", "sugrm"])
def test_classes_have_a_generated_label_each(name: str) -> None:
    """Ours: a score a class, 1 for a clip's own and -1 for others, moved by the models' rule."""
    table = {"width": 8, "heads": 2} if name == "sugrm" else {}
    shapes = {m: InputShape(WIDTHS[m]) for m in MODALITIES}
    options, draw = model_options(name, table), torch.Generator().manual_seed(0)
    model: Any = build(name, options, shapes, draw, classes=3)
    batch = replace(batch_of(torch.arange(CLIPS)), labels=torch.arange(CLIPS) % 3)
    model.begin(Training(CLIPS, torch.arange(CLIPS), batch.labels, 0))
    torch.manual_seed(0)  # of dropout: labels that only move outwards stay at the limit
    first = model(batch)
    assert first.prediction.shape == first.extras["label_text"].shape == (CLIPS, 3)
    own = torch.nn.functional.one_hot(batch.labels, 3) > 0
    for m in MODALITIES:
        assert torch.equal(first.extras[f"label_{m}"], torch.where(own, 1.0, -1.0))
        assert first.losses[f"unimodal_{m}"] == 0
    model.after_step(batch, first, 1)
    model.after_step(batch, model(batch), 2)
    later = model(batch)
    moved = later.extras["label_text"] - first.extras["label_text"]
    assert moved.abs().sum(dim=0).min() > 0  # those of every class
    assert later.extras["label_text"].abs().max() <= 1
    assert later.losses["unimodal_text"] > 0
    # each class is generated as a score of its own would be
    alone = LabelMemory(MODALITIES, *_of(model.memory))
    alone.begin(Training(CLIPS, torch.arange(CLIPS), torch.where(own[:, 1], 1.0, -1.0), 0))
    alone.bank.copy_(model.memory.bank)
    features = torch.randn(4, CLIPS, model.memory.width, generator=draw)
    known = batch.masks["audio"].any(dim=1).expand(3, -1)
    alone.labels.copy_(model.memory.labels[:, 1])
    for memory in (alone, model.memory):
        memory.after_step(torch.arange(CLIPS), features, known, 3)
    torch.testing.assert_close(model.memory.labels[:, 1], alone.labels)
    state = model.state_dict()
    again: Any = build(name, options, shapes, torch.Generator().manual_seed(1), classes=3)
    again.load_state_dict(state)
    assert torch.equal(again.memory.labels, model.memory.labels)


def _of(memory: LabelMemory) -> tuple[Any, ...]:
    return memory.width, memory.generator, memory.first, memory.exclude_zero
