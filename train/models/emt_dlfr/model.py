"""Efficient Multimodal Transformer with Dual-Level Feature Restoration: Sun, Lian, Liu and Tao,
"Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust Multimodal
Sentiment Analysis", IEEE Transactions on Affective Computing, arXiv:2208.07589.

Symbols, with B clips, M modalities, T_m frames of modality m, width d:

    X_m  (B, T_m, width)   cached features; X̂ complete, X̃ with frames missing
    H_m  (B, T_m, d)       local features: text tokens between [CLS] and [SEP], LSTM outputs (Eq. 1)
    h_m  (B, d_m)          utterance vector: text row 0 ([CLS]) or mean, the LSTM's last output
    G    (B, M, d)         global context, at first the projected h_m (Eq. 8)
    g    (B, M * d)        its last state, flattened
    ŷ    (B,)              sentiment, in the labels' unit, not clipped

Two settings. *Complete* (the default): one view, the loop's task loss alone. *Incomplete*
(``missing_rate`` > 0): frames are hidden in training and in scoring alike, by masks that never
change (`emt_missing`), and dual-level feature restoration (DLFR) is trained beside the task: the
complete view reconstructs from and is attracted to the incomplete one (Eqs. 11 to 16). On cached
text the *hidden states* of masked tokens are zeroed, which is not the papers' [UNK] tokens: the
states that are left have read the whole sentence. `outputs` says so of every run at a rate above 0.

Departures, and choices where the paper is silent:

- Text enters as cached layers, or by a live encoder as in the paper, which then reads [UNK] for
  what is missing. Of cached layers: as [CLS] is never masked, with ``special_tokens = "keep"`` the
  text vectors of both views are equal: their attraction trains its own projector and predictor and
  nothing else (the published weight counts include them).
- Feed-forward networks are gated (GEGLU), projections to d have no bias and serve local and
  utterance features alike, a projection or LSTM output layer between equal widths is left out, the
  head is three linear layers with ReLU: as released, and what the published sizes ask for.
- No DLFR in the complete setting (the paper; the released code always trains it). ``dlfr = true``
  asks for it at rate 0, where nothing is reconstructed; ``dlfr = false`` or a weight of 0 leaves
  it, or a half of it, out of the incomplete setting (Fig. 9).
- Smooth L1 is PyTorch's, |x| < 1 in its condition, where Eq. 12 lacks the bars; the sum over
  missing frames is divided by the number of missing values, modality by modality.
- The complete view's own task loss (Eq. 15) is L1 whatever the loop's loss is (cross-entropy where
  classes are predicted, which the paper does not do).
- Units that share no weights start each with its own; as released, they start equal.
- MOSI and MOSEI are not scaled in the paper, SIMS' sound and faces are; [train] standardises every
  input if ``input_scaling`` does not say otherwise.
- Attraction counts only clips that have the modality. A batch of one in training is normalised by
  the projector's running statistics, for it has none of its own.
- OOLL and OALL, of which the paper gives no representation g: the mean of each modality's final
  frames, side by side, so that all strategies share one head. Their pooling is frame by frame.
- Missing faces and other invalid frames are padding: LSTM, positions and attention see the real
  frames only. A clip without frames of a modality has the zero vector for h_m and no H_m.
- One epoch is chosen by the loop's criterion, not by the sum of all losses.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ....cache.spec import MODALITIES, Modality
from ...layers.linear import Linear
from ...layers.losses import task_loss
from ...layers.packed import Packed
from ...layers.whole_batch import alone
from ..shared.hooks import Group
from ..shared.interface import Batch, InputShape, Output
from ..shared.layer_mix import LayerMixes
from ..shared.missing_frames import Special, incomplete_view, restored_error, told_of_missing
from .encoders import (
    RecurrentEncoder,
    Siamese,
    TextEncoder,
    View,
    negative_cosine,
    positions,
)
from .fusion import FUSIONS
from .options import ENCODER, ENCODERS, PRESETS, RECIPE, RECIPES, Options

__all__ = ["EMTDLFR", "ENCODER", "ENCODERS", "PRESETS", "RECIPE", "RECIPES", "Options"]


class EMTDLFR(nn.Module):
    """Local features and a global context promote each other; missing frames are restored."""

    def __init__(self, options: Options, inputs: Mapping[Modality, InputShape]) -> None:
        """For the modalities of `inputs`; raises ValueError where OOLL has no pair of them."""
        super().__init__()
        self.modalities = tuple(m for m in MODALITIES if m in inputs)
        if options.fusion == "ooll" and len(self.modalities) < 2:
            lacking = " or ".join(m for m in MODALITIES if m not in inputs)
            raise ValueError(
                f'emt_dlfr: fusion = "ooll" pairs modalities and there is only '
                f'{self.modalities[0]}; add {lacking}, or take fusion = "oagl".'
            )
        self.options, width = options, options.width
        self.missing_rate, self.mask_seed = options.missing_rate, options.mask_seed
        self.special_tokens: Special = options.special_tokens
        self.mixes = LayerMixes(inputs)
        encoders = {m: _encoder(m, inputs[m], options) for m in self.modalities}
        widths = {m: encoder.out for m, encoder in encoders.items()}
        self.encoders = nn.ModuleDict({str(m): encoder for m, encoder in encoders.items()})
        self.projections = nn.ModuleDict(
            {
                m: nn.Identity() if n == width else Linear(n, width, bias=False)
                for m, n in widths.items()
            }
        )
        self.dropout = nn.Dropout(options.embedding_dropout)
        self.fusion = FUSIONS[options.fusion](options, len(self.modalities))
        size = options.head_width
        self.head = nn.Sequential(
            nn.Dropout(options.head_dropout),
            nn.Linear(sum(widths.values()) + len(self.modalities) * width, size),
            nn.ReLU(),
            nn.Linear(size, size),
            nn.ReLU(),
            nn.Linear(size, options.classes or 1),
        )
        self.reconstructs = options.restores and options.reconstruction > 0
        self.attracts = options.restores and options.attraction > 0
        # a simple decoder: one linear layer, from the promoted frame to the complete input's frame
        self.decoders = nn.ModuleDict(
            {m: Linear(width, inputs[m].width) for m in self.modalities}
            if self.reconstructs
            else {}
        )
        siamese: dict[str, nn.Module] = {}
        if self.attracts and options.simsiam:
            inner = {
                "text": options.predictor_text,
                "audio": options.predictor_audio,
                "vision": options.predictor_vision,
            }
            siamese = {m: Siamese(widths[m], inner[m]) for m in self.modalities}
            whole = len(self.modalities) * width
            siamese["context"] = Siamese(whole, options.predictor_context)
        self.siamese = nn.ModuleDict(siamese)
        self.total: Callable[[Tensor], Tensor] = alone

    def forward(self, batch: Batch) -> Output:
        """Scores; in training, with DLFR, the terms of Eq. 16.

        Losses: ``reconstruction`` (lambda_1, Eq. 11), ``attraction`` and ``complete`` (lambda_2,
        the similarities and the complete view's error of Eq. 15). Extras: ``pooling`` (batch,
        modalities), whose version of the context the last pooling chose.
        """
        mixed: dict[Modality, Tensor] = {
            m: self.mixes.mixed(m, batch.features[m]) for m in self.modalities
        }
        whole = {m: Packed.of(mixed[m], batch.masks[m]) for m in self.modalities}  # X̂
        seen, gone = whole, dict[Modality, Packed]()  # X̃, and which of its frames are missing
        if self.missing_rate > 0:
            seen = {}
            for m in self.modalities:
                mix = partial(self.mixes.mixed, m)
                shown, hidden = incomplete_view(self, batch, m, mix, mixed[m])
                seen[m], gone[m] = whole[m].again(shown), whole[m].again(hidden)
        restoring = self.training and self.options.restores
        promote = restoring and self.reconstructs
        losses: dict[str, Tensor] = {}
        if restoring and self.attracts:  # both views at once: one pass over twice the clips
            both = {m: Packed.batch([seen[m], whole[m]]) for m in self.modalities}
            view, complete = self.see(both, promote).halves()
            alike = self._attraction(view, complete, whole)
            error = task_loss(complete.prediction, batch.labels)
            losses["attraction"] = self.options.attraction * alike
            losses["complete"] = self.options.attraction * error
        else:
            view = self.see(seen, promote)
        if promote:
            error = self._reconstruction(view, whole, gone)
            losses["reconstruction"] = self.options.reconstruction * error
        extras = {} if view.pooling is None else {"pooling": view.pooling.detach()}
        return Output(view.prediction, losses, extras, {"fused": view.together.detach()})

    def see(self, X: Mapping[Modality, Packed], promote: bool) -> View:
        """Frames (N_m, width) of each modality through encoders, fusion and head."""
        utterances, H = dict[Modality, Tensor](), list[Packed]()
        for m in self.modalities:
            utterances[m], local = self.encoders[m](X[m])  # Eq. 1
            projected = self.projections[m](local.rows)
            H.append(local.like(self.dropout(projected + positions(local, self.options.width))))
        G = torch.stack([self.projections[m](utterances[m]) for m in self.modalities], dim=1)
        fused = self.fusion(H, G, promote)
        together = torch.cat([*utterances.values(), fused.context], dim=1)
        answers = self.head(together)
        return View(
            utterances=utterances,
            context=fused.context,
            frames=dict(zip(self.modalities, fused.frames, strict=True)),
            together=together,
            prediction=answers if self.options.classes else answers.squeeze(-1),
            pooling=fused.pooling,
        )

    def _attraction(self, one: View, other: View, X: Mapping[Modality, Packed]) -> Tensor:
        """Similarities of Eq. 15, each a mean over clips."""
        total = self._distance("context", one.context, other.context).mean()
        for m in self.modalities:
            present = X[m].there.to(total.dtype)
            distance = self._distance(m, one.utterances[m], other.utterances[m])
            reached = self.total((distance * present).sum())
            total = total + reached / self.total(present.sum()).clamp(min=1)
        return total

    def _distance(self, name: str, one: Tensor, other: Tensor) -> Tensor:
        """(batch, width) twice -> (batch,)."""
        if name not in self.siamese:
            return negative_cosine(one, other)
        distance: Tensor = self.siamese[name](one, other)
        return distance

    def _reconstruction(
        self, view: View, whole: Mapping[Modality, Packed], gone: Mapping[Modality, Packed]
    ) -> Tensor:
        """Eq. 11: mean smooth L1 distance of missing frames, summed over modalities."""
        total = view.prediction.new_zeros(())
        for m, hidden in gone.items():
            encoder = self.encoders[m]
            assert isinstance(encoder, TextEncoder | RecurrentEncoder)
            missing = encoder.local(hidden).rows.nonzero().squeeze(1)
            truth = encoder.local(whole[m]).rows.index_select(0, missing).detach()
            guess = self.decoders[m](view.frames[m].rows.index_select(0, missing))
            total = total + restored_error(guess, truth, self.total)
        return total

    def groups(self) -> Sequence[Group]:
        """LSTM of audio, LSTM of vision, and the rest: each with its learning rate and decay."""
        options = self.options
        own = {
            "audio": (options.audio_rate, options.audio_decay),
            "vision": (options.vision_rate, None),
        }
        groups = [
            Group(tuple(self.encoders[m].parameters()), *own[m])
            for m in self.modalities
            if m in own
        ]
        taken = {id(weight) for group in groups for weight in group.parameters}
        rest = tuple(weight for weight in self.parameters() if id(weight) not in taken)
        return [*groups, Group(rest)]

    def outputs(self) -> Mapping[str, Tensor]:
        """``layers_<modality>`` (layers,) of every weighted input, and how frames go missing
        (`told_of_missing`)."""
        return self.mixes.weights | told_of_missing(self.missing_rate, self.modalities)


def _encoder(
    modality: Modality, shape: InputShape, options: Options
) -> TextEncoder | RecurrentEncoder:
    """Unimodal feature encoder (Eq. 1)."""
    if modality == "text":
        return TextEncoder(shape, options.text)
    hidden, out = (
        (options.audio_hidden, options.audio_out)
        if modality == "audio"
        else (options.vision_hidden, options.vision_out)
    )
    return RecurrentEncoder(shape, hidden, out, options.encoder_dropout)
