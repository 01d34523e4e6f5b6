"""MMML: published sizes, attention done the slow way, context, and what each option changes."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sedimental.cache.spec import Modality
from sedimental.errors import RunError
from sedimental.train.layers.packed import Packed
from sedimental.train.layers.post_norm import PostNormAttention
from sedimental.train.models import build, model_recipe
from sedimental.train.models.mmml import MMML, SMALL, CrossModalLayer, Options, Restoring
from sedimental.train.models.shared.interface import Batch, InputShape

PAIR: tuple[Modality, ...] = ("text", "audio")
TINY = Options(
    width=8, layers=2, heads=2, head=8, head_inner=6, restoring_layers=1, restoring_feedforward=12
)


def made(options: Options, widths: dict[Modality, int] | None = None) -> MMML:
    shapes = {m: InputShape(w) for m, w in (widths or {"text": 5, "audio": 8}).items()}
    model = build("mmml", options, shapes, torch.Generator().manual_seed(0))
    assert isinstance(model, MMML)
    return model


def size(model: nn.Module) -> int:
    return sum(w.numel() for w in model.parameters())


def batch_of(lengths: dict[Modality, list[int]], seed: int = 0, extra: int = 0) -> Batch:
    """Random frames; clip k has the same ones whatever its company and padding."""
    features, masks = {}, {}
    count = len(next(iter(lengths.values())))
    for place, (m, sizes) in enumerate(lengths.items()):
        longest = max(1, *sizes) + extra
        rows = []
        for k, n in enumerate(sizes):
            source = torch.Generator().manual_seed(1000 * seed + 10 * k + place)
            frames = torch.randn(40, 5 if m == "text" else 8, generator=source)[:longest]
            frames[n:] = 1e3  # loud padding: a leak cannot hide
            rows.append(frames)
        features[m] = torch.stack(rows)
        masks[m] = torch.arange(longest) < torch.tensor(sizes).unsqueeze(1)
    return Batch(features, masks, torch.linspace(-1, 2, count), torch.arange(count))


BATCH = batch_of({"text": [3, 1, 4, 2], "audio": [2, 6, 1, 3]})


@pytest.mark.parametrize(
    ("width", "changes", "total"),
    [
        (768, {}, 96_095_491 + 590_592),  # and the pooler, which the authors have in the encoder
        (768, {"variation": "concatenation"}, 98_456_323 + 590_592),
        (768, {"variation": "transformer"}, 191_745_283 + 590_592),
        (768, {"variation": "vectors"}, 2_166_787 + 590_592),
        (1024, {"heads": 16, "context": "separate"}, 171_120_131 + 1_049_600),
    ],
)
def test_published_sizes(width: int, changes: dict[str, object], total: int) -> None:
    with torch.device("meta"):  # sizes alone: no memory, no time
        inputs: dict[Modality, InputShape] = {m: InputShape(width) for m in PAIR}
        model = MMML(Options(**changes), inputs)  # type: ignore[arg-type]
    assert size(model) == total
    if changes.get("variation") != "vectors" and width == 768:
        assert size(model.layers) == 94_517_760  # five cross-modal layers


def test_attention_is_that_of_the_paper() -> None:
    """Section 3.2, frame by frame and head by head."""
    layer = PostNormAttention(6, 2, 0.3).double().eval()
    x, other = torch.randn(2, 3, 6).double(), torch.randn(2, 4, 6).double()
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    wanted = torch.zeros(2, 3, 6).double()
    layer.requires_grad_(False)
    for b in range(2):
        for q in range(3):
            heads = []
            for h in (slice(0, 3), slice(3, 6)):
                query = layer.query(x[b, q])[h]
                keys = [k for k in range(4) if mask[b, k]]
                logits = [float(query @ layer.key(other[b, k])[h]) / math.sqrt(3) for k in keys]
                total = sum(math.exp(v) for v in logits)
                parts = [
                    math.exp(v) / total * layer.value(other[b, k])[h]
                    for v, k in zip(logits, keys, strict=True)
                ]
                heads.append(torch.stack(parts).sum(dim=0))
            summed = x[b, q] + layer.out(torch.cat(heads))
            spread = summed.var(unbiased=False).sqrt()
            wanted[b, q] = (summed - summed.mean()) / spread * layer.norm.weight + layer.norm.bias
    found = layer(Packed.stack(x), Packed.of(other, mask)).padded()
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_both_directions_start_from_the_same_inputs() -> None:
    layer = CrossModalLayer(8, TINY).eval()
    a, b = Packed.stack(torch.randn(2, 3, 8)), Packed.stack(torch.randn(2, 5, 8))
    found = layer(a, b)
    for side, x, other in ((0, a, b), (1, b, a)):
        own = layer.sides[side]
        wanted = own.cross(x, other)  # type: ignore[operator]
        wanted = own.feedforward(own.own(wanted, wanted))  # type: ignore[operator]
        torch.testing.assert_close(found[side].rows, wanted.rows)


VARIATIONS = ["fused", "concatenation", "transformer", "vectors"]
CONTEXTS = ["none", "concatenate", "separate"]


def with_previous(batch: Batch, extra: int = 0) -> Batch:
    """Two clips before; the first of the video has none."""
    nearest = batch_of({"text": [0, 2, 1, 3], "audio": [0, 1, 4, 2]}, 1, extra)
    further = batch_of({"text": [0, 0, 2, 1], "audio": [0, 0, 1, 1]}, 2, extra)
    return replace(batch, previous=(nearest, further))


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_padding_and_neighbours_change_nothing(variation: str, context: str) -> None:
    model = made(replace(TINY, variation=variation, context=context))  # type: ignore[arg-type]
    model.eval()
    lengths: dict[Modality, list[int]] = {"text": [3, 0, 4, 0], "audio": [2, 6, 0, 0]}
    batch = with_previous(batch_of(lengths))
    together = model(batch).prediction
    assert together.isfinite().all()
    longer = model(with_previous(batch_of(lengths, extra=9), extra=5)).prediction
    torch.testing.assert_close(together, longer, rtol=0, atol=1e-5)
    for k in range(4):
        torch.testing.assert_close(
            together[k : k + 1], model(clip(batch, k)).prediction, rtol=0, atol=1e-5
        )


def clip(batch: Batch, k: int) -> Batch:
    part = slice(k, k + 1)
    return Batch(
        {m: x[part] for m, x in batch.features.items()},
        {m: x[part] for m, x in batch.masks.items()},
        batch.labels[part],
        batch.index[part],
        {m: x[part] for m, x in batch.targets.items()},
        tuple(clip(b, k) for b in batch.previous),
    )


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_every_weight_gets_a_gradient(variation: str, context: str) -> None:
    model = made(replace(TINY, variation=variation, context=context))  # type: ignore[arg-type]
    batch = with_previous(batch_of({"text": [3, 1, 4, 2], "audio": [2, 6, 1, 3]}))
    output = model(batch)
    (output.prediction.sum() + 2 * sum(output.losses.values())).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() >= 0, name
    silent = [n for n, w in model.named_parameters() if not w.grad.abs().sum()]  # type: ignore[union-attr]
    assert all("bias" in name for name in silent), silent  # signs of L1 may cancel in a bias


@pytest.mark.parametrize("context", ["concatenate", "separate"])
def test_context_is_read_as_far_as_it_goes(context: str) -> None:
    model = made(replace(TINY, context=context))  # type: ignore[arg-type]
    model.eval()
    assert model.previous_clips == 2
    whole = with_previous(BATCH)
    scores = model(whole).prediction
    nearest, further = whole.previous
    other = replace(further, features={**further.features, "audio": further.features["audio"] + 1})
    assert torch.equal(scores, model(replace(whole, previous=(nearest, other))).prediction)
    other = replace(further, features={**further.features, "text": further.features["text"] + 1})
    changed = model(replace(whole, previous=(nearest, other))).prediction != scores
    assert changed.tolist() == [False, False, True, True]  # those that have a clip two before
    first_of_video = model(clip(replace(whole, previous=()), 0)).prediction
    torch.testing.assert_close(first_of_video, scores[:1])
    assert made(TINY).previous_clips == 0


def test_concatenated_context_is_one_longer_stream() -> None:
    """Oldest first: the clip before, then the clip, as if they were one."""
    own = replace(TINY, context="concatenate", context_text=1, multi_loss=False)
    model = made(own).eval()
    lengths: dict[Modality, list[int]] = {"text": [3], "audio": [2]}
    now, before = batch_of(lengths), batch_of(lengths, 1)
    longer = Batch(
        {
            m: torch.cat([before.features[m][:, : lengths[m][0]], now.features[m]], dim=1)
            for m in PAIR
        },
        {m: torch.cat([before.masks[m][:, : lengths[m][0]], now.masks[m]], dim=1) for m in PAIR},
        now.labels,
        now.index,
    )
    joined = model(replace(now, previous=(before,))).prediction
    torch.testing.assert_close(joined, made(replace(own, context="none")).eval()(longer).prediction)


def test_losses_of_single_modalities() -> None:
    model = made(TINY).eval()
    lengths: dict[Modality, list[int]] = {"text": [3, 1, 0, 2], "audio": [2, 6, 1, 0]}
    batch = batch_of(lengths)
    output = model(batch)
    text = output.extras["score_text"]
    wanted = (text - batch.labels).abs()[torch.tensor([0, 1, 3])].mean()
    torch.testing.assert_close(output.losses["text"], wanted)
    own = torch.tensor([1.0, math.nan, 0.0, -1.0])
    output = model(replace(batch, targets={"audio": own}))
    goal = torch.where(own.isnan(), batch.labels, own)
    wanted = (output.extras["score_audio"] - goal).abs()[:3].mean()
    torch.testing.assert_close(output.losses["audio"], wanted)
    torch.testing.assert_close(output.losses["text"], model(batch).losses["text"])
    assert output.prediction[2] == output.extras["score_audio"][2]  # it has no text
    assert output.prediction[3] == output.extras["score_text"][3]
    assert output.prediction[0] not in (text[0], output.extras["score_audio"][0])
    none = batch_of({"text": [0, 0], "audio": [0, 1]})
    assert model(none).losses["text"] == 0
    assert model(none).prediction.isfinite().all()
    assert not made(replace(TINY, multi_loss=False))(batch).losses


def test_losses_of_classes() -> None:
    model = made(replace(TINY, classes=3)).eval()
    labels = torch.tensor([2, 0, 1, 1])
    batch = replace(batch_of({"text": [3, 1, 0, 2], "audio": [1] * 4}), labels=labels)
    output = model(batch)
    assert output.prediction.shape == (4, 3)
    kept = torch.tensor([0, 1, 3])
    wanted = nn.functional.cross_entropy(output.extras["score_text"][kept], labels[kept])
    torch.testing.assert_close(output.losses["text"], wanted)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 1},
        {"self_attention": False},
        {"feedforward": False},
        {"expansion": 2},
        {"multi_loss": False},
        *({"variation": v} for v in VARIATIONS[1:]),
        {"context": "separate"},
    ],
)
def test_every_option_changes_the_network(change: dict[str, object]) -> None:
    assert size(made(replace(TINY, **change))) != size(made(TINY))  # type: ignore[arg-type]


def test_subsets() -> None:
    alone: dict[Modality, int] = {"audio": 8}
    model = made(replace(TINY, width=None, heads=5), alone)
    assert size(model) == 9  # a head on the mean frame: nothing to fuse
    batch = batch_of({"audio": [2, 0, 3]})
    assert model(batch).prediction.shape == (3,)
    assert not model(batch).losses  # its score is the prediction itself
    three = made(TINY, {"text": 5, "audio": 8, "vision": 4})
    assert three.modalities == PAIR
    assert made(TINY, {"audio": 8, "vision": 4}).modalities == ("audio", "vision")
    with pytest.raises(RunError, match=r"mmml: text and audio are 5 and 8 wide.*train\.mmml\."):
        made(replace(TINY, width=None))
    with pytest.raises(RunError, match="mmml: width 8 is not a multiple of heads = 3"):
        made(replace(TINY, heads=3))


def test_the_preset_for_frozen_features_is_small() -> None:
    assert size(made(SMALL, {"text": 1024, "audio": 1024})) < 400_000
    assert model_recipe("mmml", {"preset": "frozen"}).learning_rate == 1e-3
    assert model_recipe("mmml", {}).patience == 8


def test_joint_linear_of_the_concatenation_variation_reads_dropped_vectors() -> None:
    """P4: the released variation drops before each modality's joint Linear."""
    model = made(replace(TINY, variation="concatenation", dropout=0.3)).train()
    seen = list[Tensor]()
    for joint in model.joints.values():
        joint.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    lengths: dict[Modality, list[int]] = {"text": [3] * 200, "audio": [2] * 200}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model(batch_of(lengths))
    for given in seen:
        assert (given == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    seen.clear()
    model.eval()(batch_of(lengths))
    assert all((given != 0).all() for given in seen)


def test_restoring_transformer_is_pytorchs_encoder() -> None:
    """P4: section 3.4's Transformer is nn.TransformerEncoder: its function, its 0.1, its start."""
    model = made(replace(TINY, variation="transformer", dropout=0.3)).double().eval()
    part = model.restoring["text"]
    assert isinstance(part, Restoring)
    d, heads, inner = 16, TINY.heads, TINY.restoring_feedforward
    layers = nn.TransformerEncoderLayer(d, heads, inner, batch_first=True).double()
    theirs = nn.TransformerEncoder(layers, len(part.layers), enable_nested_tensor=False).eval()
    names = {
        "projections.": "self_attn.in_proj_",
        "attended.": "self_attn.out_proj.",
        "feedforward.0.": "linear1.",
        "feedforward.3.": "linear2.",
        "norms.0.": "norm1.",
        "norms.1.": "norm2.",
    }
    for own, other in zip(part.layers, theirs.layers, strict=True):
        state = own.state_dict()
        other.load_state_dict(
            {b + end: state[a + end] for a, b in names.items() for end in ("weight", "bias")}
        )
        bound = math.sqrt(6 / (d + 3 * d))
        assert bound * 0.9 < state["projections.weight"].abs().max() <= bound
        assert not state["projections.bias"].any()
        assert not state["attended.bias"].any()
        own.train()
        assert (own.share, own.dropout.p, own.feedforward[2].p) == (0.1, 0.1, 0.1)  # type: ignore[comparison-overlap, index, union-attr]
        own.eval()
    fused, original = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor([[4], [1], [3]])
    both = torch.cat([part.token.expand(3, -1, -1), torch.cat([fused, original], dim=2)], dim=1)
    hidden = torch.cat([torch.zeros(3, 1, dtype=torch.bool), ~mask], dim=1)
    wanted = theirs(both, src_key_padding_mask=hidden)[:, 0]
    found = part(Packed.of(fused, mask), Packed.of(original, mask))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_weights_of_earlier_runs_of_the_transformer_variation_still_load() -> None:
    model = made(replace(TINY, variation="transformer"))
    state = dict(model.state_dict())
    for m in PAIR:
        for k in range(TINY.restoring_layers):
            new, old = f"restoring.{m}.layers.{k}.", f"restoring.{m}.attentions.{k}."
            fed = f"restoring.{m}.feedforwards.{k}."
            for end in ("weight", "bias"):
                three = state.pop(f"{new}projections.{end}").chunk(3)
                names = ("query", "key", "value")
                state |= {f"{old}{n}.{end}": x for n, x in zip(names, three, strict=True)}
                state[f"{old}out.{end}"] = state.pop(f"{new}attended.{end}")
                state[f"{old}norm.{end}"] = state.pop(f"{new}norms.0.{end}")
                state[f"{fed}inner.{end}"] = state.pop(f"{new}feedforward.0.{end}")
                state[f"{fed}out.{end}"] = state.pop(f"{new}feedforward.3.{end}")
                state[f"{fed}norm.{end}"] = state.pop(f"{new}norms.1.{end}")
    other = made(replace(TINY, variation="transformer", restoring_layers=TINY.restoring_layers))
    for weight in other.parameters():
        weight.data.zero_()
    other.load_state_dict(state)
    assert torch.equal(other.eval()(BATCH).prediction, model.eval()(BATCH).prediction)


def test_plain_concatenation_with_context_has_its_own_head_and_widths() -> None:
    """P9: vectors of text 5 and audio 8 wide, now and before, through 2048 - 1024 - 1."""
    own = replace(TINY, width=None, variation="vectors", context="separate")
    model = made(replace(own, head=2048, head_inner=1024))
    shapes = [layer.weight.shape for layer in model.head if isinstance(layer, nn.Linear)]
    assert shapes == [(2048, 2 * (5 + 8)), (1024, 2048), (1, 1024)]
    assert {m: head[1].in_features for m, head in model.heads.items()} == {"text": 10, "audio": 16}  # type: ignore[index]
    output = model(with_previous(BATCH))
    assert output.prediction.shape == (4,)
    assert output.losses.keys() == set(PAIR)
    once = made(replace(own, context="none", head=64))
    shapes = [layer.weight.shape for layer in once.head if isinstance(layer, nn.Linear)]
    assert shapes == [(64, 13), (64, 64), (TINY.head_inner, 64), (1, TINY.head_inner)]
