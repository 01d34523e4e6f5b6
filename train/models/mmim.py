"""MMIM (MultiModal InfoMax): Han, Chen and Poria, "Improving Multimodal Fusion with Hierarchical
Mutual Information Maximization for Multimodal Sentiment Analysis", EMNLP 2021, arXiv:2109.00412.

Written from what the paper says and the facts known of its settings. Symbols, with B clips, T_m
frames of modality m:

    X_m  (B, T_m, width)  cached features of one layer, or of several mixed by learned weights
    h_m  (B, width_m)     vector of a modality: [CLS] of text, the end state of an LSTM for others
    Z    (B, d)           fusion result, from all h_m side by side
    ŷ    (B,)             score, Linear(Z)
    q    (B,)             log-likelihood of h_m given h_text: a Gaussian, mean and variance learned
    G(Z) (B, width_m)     what the fusion result predicts of h_m

The loss is that of the task + `contrast` (alpha) * the noise-contrastive losses of G(Z) and h_m
+ `bound` (beta) * minus the Barber-Agakov bounds E[q] + H(h_m) of the mutual information of text
and every other modality: `mmim_information`.

Departures, and choices where the paper is silent:

- The paper learns q in a stage of its own, before the rest. There is one loop and one optimizer
  here: each step holds both. q's weights learn from -E[q] of vectors that are detached, and from
  nothing else; the vectors learn from the bound, in which q's weights are detached. No weight gets
  gradients from both: Adam's steps are those of two optimizers, but for `clip_norm`, which is of
  the gradients of all weights together.
- H is that of a Gaussian a class of clips, negative and not negative, over the batch and a memory
  of each class's latest clips; the paper's memory is of latest batches. `ridge` is added to
  the covariances, as without it their determinant is 0 in a small batch, and the loss no number.
  Where classes are predicted, there is a Gaussian for each of them.
- Without text, the first modality in use takes its place; a single one has no bound.
- Padding and frames that are not real are passed over. A clip without frames of a modality: h_m is
  zero, and it has no part in what is estimated of that modality.
- Text enters as cached features, or by a live encoder, as in the paper. On frozen layers [CLS] says
  little: `text = "mean"` takes the mean of all tokens.
- The bounds on the log-variance (±5), the units of the LSTMs, the share of units dropped, and the
  depth of every network (one hidden layer) are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ...cache.spec import MODALITIES, Modality
from ...config import Count, Fraction, Positive
from ..layers.dropout import Dropout
from ..layers.whole_batch import alone
from .mmim_information import ClassMemory, Conditional, contrast, entropy, members_of
from .shared.baseline import reference_recipe
from .shared.hooks import EncoderRecipe, Group, Recipe, Training
from .shared.interface import Batch, InputShape, Output, shaped
from .shared.layer_mix import layer_weights
from .shared.utterance import Pick, end_state_encoders

Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
SPACE = 4
"""Length of the vectors whose entropy the reference toolkit estimates."""


@dataclass(frozen=True)
class Options:
    """[train.mmim]; the defaults are MMSA's, the same for all of its corpora."""

    width: Positive = 128
    """Width d of the fusion result."""
    text: Pick = "first"
    """The vector of a text: its `first` token, [CLS], or the `mean` of all."""
    audio_hidden: Positive = 32
    """Units of the LSTM of audio."""
    vision_hidden: Positive = 32
    """Units of the LSTM of vision."""
    audio_out: Count = 0
    """Length of audio's vector, which a linear layer makes of the LSTM's state; 0: the state."""
    vision_out: Count = 0
    """The same of vision."""
    two_way: bool = False
    """Whether LSTMs read both ways; vectors are made of both end states."""
    dropout: Fraction = 0.1
    """Share dropped of the vectors that are fused, and of the fusion result."""
    reference: bool = False
    """As the reference toolkit: tanh in the fusion and no dropout of its result, predictions G by
    one linear layer, a likelihood with as many inner units as the vector it tells of and without
    log-variances in it, an entropy of vectors of four by a linear layer."""
    contrast: Weight = 0.1
    """Alpha, the weight of the noise-contrastive losses."""
    bound: Weight = 0.1
    """Beta, the weight of the bounds of mutual information between modalities."""
    memory: Positive = 64
    """Latest clips of each class that the entropy is estimated with, beside the batch."""
    ridge: Rate = 1e-3
    """What is added to the variances that the entropy is estimated from."""
    likelihood_rate: Rate = 1.0
    """Learning rate of the likelihood's networks, times the run's: 1e-3 of 1e-3."""
    classes: Positive = 1
    """1: a score a clip; more: logits of that many classes. Taken from the corpus in training."""


RECIPE = Recipe(
    learning_rate=1e-3,
    batch_size=32,
    epochs=100,
    patience=8,
    weight_decay=1e-4,
    warmup=0.0,
    schedule="constant",
    clip_norm=1.0,
    accumulate=2,
    source="MMSA's configuration of MMIM; epochs unlimited there",
)
CORPORA = ("mosi", "mosei", "sims")
PRESETS: dict[str, Options] = dict.fromkeys(CORPORA, Options())
RECIPES: dict[str, Recipe] = dict.fromkeys(CORPORA, RECIPE)
for _corpus in CORPORA:  # the reference toolkit's
    PRESETS[f"mmsa-{_corpus}"] = Options(
        audio_hidden=16,
        vision_hidden=16,
        audio_out=16,
        vision_out=16,
        two_way=True,
        reference=True,
        memory=16,
        ridge=1e-8,
    )
    RECIPES[f"mmsa-{_corpus}"] = reference_recipe(
        1e-3, 32, 1e-4, clip_norm=1.0, plateau=20, plateau_factor=0.5
    )
ENCODER = EncoderRecipe(5e-5, 1e-4, source="MMSA's configuration of MMIM")
"""Of text, where it is live; for all corpora."""


class MMIM(nn.Module):
    """A fusion that keeps what modalities know of each other, and what it knows of them."""

    one_label = True
    """Its memories are of clips of one class, or of one side of zero."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`, any of them."""
        super().__init__()
        self.options = options
        self.gather: Callable[[Tensor], Tensor] = alone
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        self.given, self.told = self.modalities[0], self.modalities[1:]
        self.kinds = max(2, options.classes)
        hidden: dict[Modality, int] = {
            "audio": options.audio_hidden,
            "vision": options.vision_hidden,
        }
        out: dict[Modality, int] = {"audio": options.audio_out, "vision": options.vision_out}
        self.encoders, sizes = end_state_encoders(
            inputs, options.text, hidden, out, options.two_way
        )
        d, share, simple = options.width, options.dropout, options.reference
        bend = nn.Tanh if simple else nn.ReLU
        self.fusion = nn.Sequential(
            Dropout(share), nn.Linear(sum(sizes.values()), d), bend(), nn.Linear(d, d), bend()
        )
        self.head = nn.Sequential(Dropout(0.0 if simple else share), nn.Linear(d, options.classes))
        self.likelihoods = nn.ModuleDict(
            {m: Conditional(sizes[self.given], sizes[m], simple) for m in self.told}
        )
        self.predictors = nn.ModuleDict(
            {
                m: nn.Linear(d, n)
                if simple
                else nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, n))
                for m, n in sizes.items()
            }
        )
        self.spaces = nn.ModuleDict()  # of the vectors whose entropy is estimated
        for m in self.told if simple else ():
            self.spaces[m] = nn.Sequential(nn.Linear(sizes[m], SPACE), nn.Tanh())
        self.memories = nn.ModuleDict(
            {
                m: ClassMemory(self.kinds, options.memory, SPACE if simple else sizes[m])
                for m in self.told
            }
        )

    def forward(self, batch: Batch) -> Output:
        """Scores, and in training ``contrast``, ``likelihood`` and ``bound`` among the losses.

        In training also extras for `after_step`: ``vector_<modality>`` (batch, its width) and
        ``known_<modality>`` (batch,) bool, of every modality but the first.
        """
        vectors = {m: self.encoders[m](batch.features[m], batch.masks[m]) for m in self.modalities}
        fused = self.fusion(torch.cat([*vectors.values()], dim=-1))
        prediction = shaped(self.head(fused))
        seen = {"fused": fused.detach()} | {m: x.detach() for m, x in vectors.items()}
        if not self.training:
            return Output(prediction, representations=seen)
        there = {m: batch.masks[m].any(dim=1) for m in self.modalities}
        losses = self._losses(fused, vectors, there, batch.labels)
        extras = {f"vector_{m}": self._space(m, vectors[m]).detach() for m in self.told}
        extras |= {f"known_{m}": there[m] for m in self.told}
        return Output(prediction, losses, extras, seen)

    def begin(self, training: Training) -> None:
        """Nothing is remembered yet."""
        for memory in self._memories.values():
            memory.forget()

    def after_step(self, batch: Batch, output: Output, epoch: int) -> None:
        """The batch's clips are the latest."""
        members = members_of(batch.labels, self.kinds)
        for m, memory in self._memories.items():
            known = output.extras[f"known_{m}"].unsqueeze(1)
            memory.take(output.extras[f"vector_{m}"], members & known)

    def groups(self) -> Sequence[Group]:
        """The likelihood's networks, which may learn at a rate of their own, and all else."""
        own = tuple(self.likelihoods.parameters())
        still = tuple(self.spaces.parameters())  # the toolkit's never learn
        known = {id(weight) for weight in own + still}
        rest = tuple(p for p in self.parameters() if id(p) not in known)
        groups = Group(rest), Group(own, self.options.likelihood_rate)
        return (*groups, Group(still, 0.0)) if still else groups

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, summing to one."""
        return layer_weights(self.encoders)

    def _space(self, m: Modality, vector: Tensor) -> Tensor:
        """Where the entropy of a modality's vector is estimated."""
        found: Tensor = self.spaces[m](vector) if m in self.spaces else vector
        return found

    @property
    def _memories(self) -> Mapping[str, ClassMemory]:
        return {m: one for m, one in self.memories.items() if isinstance(one, ClassMemory)}

    def _losses(
        self,
        fused: Tensor,
        vectors: Mapping[Modality, Tensor],
        there: Mapping[Modality, Tensor],
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """All of them, weighted."""
        x, members = vectors[self.given], self._all(members_of(labels, self.kinds))
        contrasts, fits, bounds = list[Tensor](), list[Tensor](), list[Tensor]()
        for m, y in vectors.items():
            together, known = self.gather(y), self._all(there[m])
            predicted = self.gather(self.predictors[m](fused))
            # the toolkit asks of each vector by which prediction it is meant, not the other way
            pair = (together, predicted) if self.options.reference else (predicted, together)
            contrasts.append(contrast(*pair, known))
            if m == self.given:
                continue
            q, memory = self.likelihoods[m], self._memories[m]
            assert isinstance(q, Conditional)
            both = there[m] & there[self.given]
            fits.append(torch.where(both, q(x.detach(), y.detach()), 0).mean())
            likelihood = torch.where(both, q.as_it_is(x, y), 0).mean()
            own = members & known.unsqueeze(1)
            space = self._space(m, together)
            bounds.append(likelihood + entropy(space, own, memory, self.options.ridge))
        losses = {"contrast": self.options.contrast * torch.stack(contrasts).sum()}
        if fits:
            losses["likelihood"] = -torch.stack(fits).sum()
            losses["bound"] = -self.options.bound * torch.stack(bounds).sum()
        return losses

    def _all(self, said: Tensor) -> Tensor:
        """What is true, (own clips, …) bool, of all clips of the batch."""
        return self.gather(said.float()) > 0
