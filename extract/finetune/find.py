"""Finds the live inputs of a pipeline: which encoder, what it reads, and where it may begin."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ...cache.alignment.word_times import read_words, refuse_wordless
from ...cache.spec import Modality, layer_names
from ...cache.store.store import open_store
from ...config import AnyFeatures, AudioFeatures, Config, InputConfig, TextFeatures, nearest
from ...errors import StoreError
from ..encoders.audio.sound import checked_hop, frame_grid
from ..encoders.hidden import highest_block
from ..encoders.loading import EncoderError
from ..streams.raw_inputs import items_folder, refuse_unreadable, token_spec, waveform_spec
from ..streams.streams import AudioStream, TextStream
from .inputs import LiveSoundInput, LiveTextInput


def live_input(
    config: Config, modality: Modality, words: bool = False
) -> LiveTextInput | LiveSoundInput:
    """The live input of [train.inputs] `modality`, found but not loaded.

    With `words`, text must come as tokens, because a model hides some of them or works among the
    blocks that read them: no start from cached hidden states. Raises StoreError for what is not
    extracted, EncoderError for an encoder that cannot be trained.
    """
    settings: InputConfig = getattr(config.train.inputs, modality)
    table = table_of(config, modality)
    every = table.model_copy(update={"layers": "all"})
    stream: TextStream | AudioStream
    kind: type[LiveTextInput] | type[LiveSoundInput]
    if isinstance(every, TextFeatures):
        stream, kind = TextStream(every, config.cache.dtype), LiveTextInput
        wanted = token_spec(stream.checkpoint, every, stream.tokenizer)
    elif isinstance(every, AudioFeatures):
        stream, kind = AudioStream(every, config.cache.dtype), LiveSoundInput
        refuse_unreadable(stream.checkpoint)
        wanted = waveform_spec(stream.processing, stream.track)
    else:
        raise EncoderError(f"encoder {table.encoder}: encoders of faces cannot be live.")
    if isinstance(table, TextFeatures) and table.pool != "none":
        raise EncoderError(
            f"train.inputs.text: a live encoder reads every token, and the table of "
            f'"{table.encoder}" says pool = "{table.pool}". Take that out.'
        )
    names = layer_names(stream.spec, settings.layers)
    if names == ("0",):
        raise EncoderError(
            f"train.inputs.{modality}: layers = 0 is what enters the first block; nothing to train."
        )
    times = None
    if settings.align:
        times = read_words(config.corpus_cache)
        refuse_wordless(config.corpus_cache, times, f"train.inputs.{modality}.align")
    how = modality, stream.checkpoint, settings, stream.spec, names
    make = partial(kind, *how, words=times)
    path = items_folder(config, wanted)
    if settings.top is None:
        return make(store=open_store(path), start=None)
    start = highest_block(names, stream.checkpoint.config.num_hidden_layers) - settings.top
    if start < 0:
        return make(store=open_store(path), start=None)  # building it says what is wrong
    reason = _unfit(table, stream, settings, names, start, words)
    if not reason:
        layers = stream.spec.layers
        if table.layers != "all":
            layers = tuple(layers[k] for k in sorted(set(stream.spec.positions(table.layers))))
        cached = replace(stream.spec, layers=layers)
        try:
            store = open_store(config.corpus_cache / cached.folder_name)
            store.spec.positions([start])
            return make(store=store, start=start)
        except StoreError as fault:
            reason = f"their states are not cached ({fault})"
    note = f"{modality} {table.encoder}: blocks 1 to {start} are computed at every step: {reason}"
    return make(store=open_store(path), start=None, note=note)


def _unfit(
    table: AnyFeatures,
    stream: TextStream | AudioStream,
    settings: InputConfig,
    names: Sequence[str],
    start: int,
    words: bool,
) -> str:
    """Why training cannot begin with the hidden states of block `start`; empty if it can."""
    if words and isinstance(table, TextFeatures):
        return "a model hides words before they are read, or works inside the encoder"
    if any(name.isdigit() and int(name) < start for name in names):
        return "the model reads layers below"
    if settings.seconds is not None:
        return "clips are cut by train.inputs.audio.seconds"
    if isinstance(table, AudioFeatures) and isinstance(stream, AudioStream):
        stride, window = frame_grid(stream.checkpoint, stream.processing)
        native = stream.processing.sample_rate / stride
        if checked_hop(table, native, window) > 1:
            return f"the cache holds {table.rate:g} of the encoder's {native:g} frames a second"
    return ""


def table_of(config: Config, modality: Modality) -> AnyFeatures:
    """The [[features]] table that [train.inputs] `modality` names; StoreError if there is none."""
    settings: InputConfig = getattr(config.train.inputs, modality)
    if table := config.features_of(modality):
        return table
    known = [f.encoder for f in config.features if f.modality == modality]
    raise StoreError(
        f"train.inputs.{modality}.encoder: no [[features]] table describes "
        f'"{settings.encoder}".{nearest(settings.encoder, known)}'
    )
