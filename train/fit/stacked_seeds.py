"""Seeds of one model trained as one stacked model: a pass of all in the steps of one.

Weights lie as (seeds, …); `torch.func.vmap` runs the model over the first axis. Each seed keeps its
own first weights, its own order of clips, its own hidden spans, its own best epoch and its own
early stop, so that where nothing is dropped the results are those of training one by one. Masks of
dropout come from one stream of the whole stack: they depend on which seeds are in it.
"""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ...cache.runs import Epoch
from ..data.dataset import Selection
from ..data.spec_augment import hide
from ..layers.padded_mode import padded_mode
from ..models.shared.hooks import Contextual, Grouped, Remembers, Stackable
from ..models.shared.interface import Batch, FusionModel
from .early_stopping import BestEpoch, weights_of
from .loop import refuse_divergence, shuffled, validate, whole_loss
from .optimizer import rate_factors
from .seeding import global_stream, stream
from .settings import Settings


def stackable(model: FusionModel, settings: Settings) -> bool:
    """Whether several of `model` can be trained as one."""
    return (
        isinstance(model, nn.Module)
        and isinstance(model, Stackable)
        and not isinstance(model, Grouped | Remembers | Contextual)
        and settings.precision == "fp32"
        and not settings.whole_groups
        and settings.clip_value is None
        and settings.plateau is None
        and not list(model.buffers())
    )


def company(seeds: Sequence[int]) -> int:
    """The seed of what all `seeds` of a stack share: the masks of dropout."""
    digest = hashlib.blake2b(repr(tuple(seeds)).encode(), digest_size=7).digest()
    return int.from_bytes(digest)


def fit_stacked(
    models: Sequence[FusionModel],
    data: Selection,
    settings: Settings,
    seeds: Sequence[int],
    protocol: str,
    on_epoch: Callable[[], None] = lambda: None,
) -> list[BestEpoch]:
    """Train `models`, a seed each, in place; as `loop.fit` does one of them.

    `on_epoch` is called for each epoch of each seed. Raises RunError as `fit` does.
    """
    if not all(stackable(model, settings) for model in models):
        raise ValueError(f"{type(models[0]).__name__} cannot be stacked.")
    stack = _Stack(models, settings)
    tracks = [BestEpoch(settings) for _ in models]
    while not all(track.finished for track in tracks):
        number, began = max(len(t.history) for t in tracks) + 1, time.perf_counter()
        alive = [not track.finished for track in tracks]
        orders = [shuffled(data, settings.batch_size, seed, number) for seed in seeds]
        losses, rate = stack.epoch(data, orders, seeds, number, alive)
        sizes = torch.tensor([len(batch) for batch in orders[0]])
        spent = time.perf_counter() - began
        for own, order, model, track in zip(losses, orders, models, tracks, strict=True):
            if track.finished:
                continue
            began = time.perf_counter()
            refuse_divergence(own, order, number, data)
            valid_loss, metrics = validate(model, data, settings, number, protocol)
            epoch = Epoch(
                epoch=number,
                train_loss=float((own * sizes).sum() / sizes.sum()),
                valid_loss=valid_loss,
                learning_rate=rate,
                seconds=spent / sum(alive) + time.perf_counter() - began,
                valid=metrics,
            )
            track.take(epoch, partial(weights_of, model))
            on_epoch()
    return tracks


class _Stack:
    """The weights of all models as one, and their optimizer."""

    def __init__(self, models: Sequence[FusionModel], settings: Settings) -> None:
        modules = [model for model in models if isinstance(model, nn.Module)]
        self.settings = settings
        self.weights, _ = stack_module_state(modules)
        self.skeleton = copy.deepcopy(modules[0]).to("meta")
        for number, module in enumerate(modules):  # what scores is the stack's own memory
            for name, weight in module.named_parameters():
                weight.data = self.weights[name].data[number]
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(
            list(self.weights.values()),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def epoch(
        self,
        data: Selection,
        orders: Sequence[Sequence[Tensor]],
        seeds: Sequence[int],
        number: int,
        alive: Sequence[bool],
    ) -> tuple[Tensor, float]:
        """One pass of every seed; losses (seeds, batches) on the CPU, and the last rate."""
        settings, every, device = self.settings, self.settings.accumulate, data.labels.device
        count = len(orders[0])
        factors = rate_factors(number, math.ceil(count / every), settings)
        masking = [stream(seed, "masking", number, device) for seed in seeds]
        counted = torch.tensor(alive, device=device)
        losses = torch.zeros(len(seeds), count, device=device)
        self.skeleton.train()
        together = [torch.cat(batches) for batches in zip(*orders, strict=True)]
        with global_stream(company(seeds), "dropout", number, device), padded_mode():
            for step, whole in enumerate(data.batches(together)):
                parts = torch.arange(whole.size, device=device).view(len(seeds), -1)
                features, masks = _hidden(whole, parts, settings, masking)
                labels, index = whole.labels[parts], whole.index[parts]
                own = vmap(self._loss, randomness="different")(
                    self.weights, features, masks, labels, index
                )
                losses[:, step] = own.detach()
                # a sum, so that each model has the gradient of its own mean
                torch.autograd.backward(torch.where(counted, own, 0).sum())
                if (step + 1) % every == 0 or step + 1 == count:
                    self._step(settings.learning_rate * factors[step // every])
        return losses.cpu(), settings.learning_rate * factors[-1]

    def _loss(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        labels: Tensor,
        index: Tensor,
    ) -> Tensor:
        """One model's loss on one batch."""
        batch = Batch(features, masks, labels, index)  # type: ignore[arg-type]
        output = functional_call(self.skeleton, dict(weights), (batch,))
        return whole_loss(output, batch, self.settings)

    def _step(self, rate: float) -> None:
        if self.settings.clip_norm is not None:
            clip_each(list(self.weights.values()), self.settings.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()


def clip_each(weights: Sequence[Tensor], most: float) -> None:
    """`clip_grad_norm_` for each model of a stack, by its own gradients alone."""
    grads = [w.grad for w in weights if w.grad is not None]
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads]).norm(dim=0)  # (models,)
    factor = (most / (norms + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor.view(-1, *[1] * (grad.dim() - 1)))


def _hidden(
    whole: Batch, parts: Tensor, settings: Settings, masking: Sequence[torch.Generator]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features and masks with a leading axis of models; spans are hidden as each alone would."""
    features: dict[str, list[Tensor]] = {m: [] for m in whole.features}
    for rows, generator in zip(parts, masking, strict=True):
        own = Batch(
            {m: x[rows] for m, x in whole.features.items()},
            {m: x[rows] for m, x in whole.masks.items()},
            whole.labels[rows],
            whole.index[rows],
        )
        hidden = hide(own, settings.mask_time, settings.mask_width, generator)
        for m, x in hidden.features.items():
            features[m].append(x)
    masks = {str(m): x[parts] for m, x in whole.masks.items()}
    return {m: torch.stack(x) for m, x in features.items()}, masks
