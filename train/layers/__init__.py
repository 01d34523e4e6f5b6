"""The parts that models are made of, over real frames alone.

How a model is built on them::

    X = Packed.of(features, mask)           # (B, T, width) with gaps and padding -> rows (N, width)
    h = X.map(self.frames)                  # any layer that sees one frame at a time
    h = self.convolution(h)                 # TemporalConvolution, LSTM, GRU, TransformerLayer,
    h = self.context(h)                     # SequenceEncoder: Packed in, Packed out
    z = h.mean()                            # (B, d): also first(), last(), maxima(bins), attended()
    c = self.reader(h, other)               # CrossmodalEncoder: frames of h read those of `other`

A clip without frames is zero in all of these poolings; multiply by ``X.there`` behind a layer that
has a bias. `Packed.concatenate` puts sequences behind each other in time (a [CLS] before frames, a
clip before a clip), `Packed.batch` puts batches beside each other, `Packed.stack` takes sequences
of equal length (B, T, d), ``kept`` leaves some frames out, ``again`` takes the same frames of other
features, and ``padded``, ``mask`` and ``unpacked`` lead back to (B, T, d).

- `packed`: `Packed`. `buckets`: clips of like length, for parts in this folder.
- `linear`: `Linear` for many rows, `SelfInitialized`. `dropout`, `layer_mix`, `losses`.
- `lstm`: `LSTM`, `GRU`, `TwoWayLSTM`. `convolution`: `TemporalConvolution`.
- `attention`: `self_attention`, `cross_attention` over `Packed`. `transformer`: pre- and post-norm
  layers with one matrix for queries, keys and values, MulT's encoders, positions.
- `post_norm`: BERT's attention and feed-forward. `experts`: a gated mixture.
- `grouped`, `window_attention`: small layers side by side, attention over short windows.
- `whole_batch`: what a loss goes through that is no mean over clips, where processes share a batch.
- `padded_mode`: within, padding is computed on too, as `vmap` needs it. A model whose forward pass
  uses `map`, `mean` and ``attended`` alone can say ``stackable = True``.

First weights come in the order in which a model makes its layers; dropout in training draws from
PyTorch's global generator.
"""
