"""From a [[features]] table to an encoder's description, and from that to its model."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn

from ...config import Features
from ...errors import SedimentalError
from .hub import commit_of, hub_answers
from .presets.families import FAMILIES, PART_OF, Family
from .presets.table import PRESETS, Preset, slug

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin", "config.json")
GENERIC = ("model", "models", "weights", "checkpoint", "pretrained", "encoder", "output")
"""Names of folders that say nothing of what lies in them."""
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
UNUSED = ("masked_spec_embed", "pooler", "mask_token")
"""Parameters that a checkpoint may lack: no hidden state depends on them."""
POOLED = ("BertModel", "RobertaModel", "XLMRobertaModel", "ViTModel")
"""Classes that would make a pooling layer, which no hidden state needs."""


class EncoderError(SedimentalError):
    """An encoder that cannot be had as asked."""


class UnreachableEncoderError(EncoderError):
    """Encoders of the Hub, which does not answer, and of which this machine has no copy."""

    def __init__(self, *sources: str) -> None:
        """`sources` are their ids on the Hub."""
        names = " and ".join([", ".join(sources[:-1]), sources[-1]] if sources[1:] else sources)
        super().__init__(
            f"encoder{'s' if sources[1:] else ''} {names}: the Hub does not answer, and this "
            "machine has no copy. Run `sedimental fetch` where there is a network and the same Hub "
            "cache (HF_HOME), or point `weights` at a folder made by `save_pretrained`. To try the "
            'pipeline without weights, take encoder = "tiny-clip", "tiny-wavlm" and "tiny-bert", '
            'or weights = "random:0" for the encoder at its full size.'
        )
        self.sources = sources


def merged(faults: Sequence[EncoderError]) -> list[str]:
    """The messages of `faults`, of encoders that the Hub would have one for all of them."""
    unreachable = [f for f in faults if isinstance(f, UnreachableEncoderError)]
    others = [str(f) for f in faults if f not in unreachable]
    sources = dict.fromkeys(source for f in unreachable for source in f.sources)
    return [*others, *([str(UnreachableEncoderError(*sources))] if sources else [])]


@dataclass(frozen=True)
class Checkpoint:
    """Where an encoder's numbers come from; resolved without loading them."""

    slug: str
    family: Family
    config: Any
    """The family's transformers configuration; at least `hidden_size`, `num_hidden_layers`."""
    weights: str
    """``hub``, ``folder``, ``random:<seed>``, or ``none`` for what has no weights."""
    source: str
    """Hub id or folder; the preset's name for random weights."""
    revision: str | None
    """Commit that the Hub resolved."""
    digest: str
    """Changes whenever the weights do."""
    preset: Preset | None

    @property
    def seed(self) -> int:
        """Seed of random weights."""
        return int(self.weights.removeprefix("random:"))

    @property
    def trained(self) -> bool:
        """Whether there is a checkpoint to load."""
        return self.weights in ("hub", "folder")

    @property
    def where(self) -> Mapping[str, Any]:
        """Arguments that point any `from_pretrained` at this very checkpoint."""
        return (
            {
                "pretrained_model_name_or_path": self.source,
                "trust_remote_code": False,
            }
            | ({"revision": self.revision} if self.revision else {})
            | _quietly(self.weights)
        )


def _quietly(weights: str) -> dict[str, Any]:
    """Of the Hub only what is here already, where it does not answer."""
    return {"local_files_only": True} if weights == "hub" and not hub_answers() else {}


def resolve(features: Features) -> Checkpoint:
    """Find out which numbers `features` asks for; raises EncoderError where there are none."""
    preset = PRESETS.get(features.encoder)
    if preset is not None and not preset.network:
        return _without_weights(features, preset)
    if preset is not None:
        weights = features.weights or preset.weights
        source = preset.hub or features.encoder
        if weights not in ("hub",) and not weights.startswith("random:"):
            weights, source = "folder", weights
    elif Path(features.encoder).is_dir():
        weights, source = features.weights or "folder", features.encoder
        if weights != "folder" and not weights.startswith("random:"):
            weights, source = "folder", source if weights == "hub" else weights
    else:
        weights, source = "hub", features.encoder
        if features.weights not in (None, "hub"):  # a copy of it on this machine
            weights, source = "folder", str(features.weights)
    if weights.startswith("random:"):
        config = _own_config(features.encoder, preset)
        text = json.dumps(config.to_dict(), sort_keys=True, default=str)
        digest = hashlib.blake2b(f"{weights}\n{text}".encode(), digest_size=16).hexdigest()
        commit = None
    else:
        config = _loaded_config(source, weights, features.revision)
        commit = commit_of(source, features.revision) if weights == "hub" else None
        # a commit names its files for good, so they need not be read to know which they are
        digest = f"commit:{commit}" if commit else digest_of_folder(Path(source))
    family = _family(features, config)
    name = _name(features, weights, source, config, preset)
    return Checkpoint(name, family, config, weights, source, commit, digest, preset)


def _name(features: Features, weights: str, source: str, config: Any, preset: Preset | None) -> str:
    """What the store is called: never after a preset that the weights are not of."""
    if features.name is not None:
        return features.name
    asked = preset is None and not Path(features.encoder).is_dir()  # a Hub id
    if weights != "folder" or asked or (preset is not None and _is_of(config, preset)):
        return slug(features.encoder)
    folder = Path(source).resolve()
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    origin = str(stated.get("_name_or_path", "")).rstrip("/")
    known = {slug(hub) for each in PRESETS.values() if (hub := each.hub)} | PRESETS.keys()
    for name in (origin, *(part.name for part in (folder, *folder.parents))):
        # weights trained further still name what they began from
        if name and slug(name) not in known and slug(name).lower() not in GENERIC:
            return slug(name)
    return slug(folder.name)


def _is_of(config: Any, preset: Preset) -> bool:
    """Whether a configuration is the preset's, by all sizes that both tell."""
    return config.model_type in (preset.family, PART_OF.get(preset.family)) and all(
        getattr(config, key) == preset.config[key] for key in SIZES if key in preset.config
    )


def load_model(checkpoint: Checkpoint) -> nn.Module:
    """The encoder in evaluation mode, fp32, on the CPU; random weights depend on the seed alone."""
    family = checkpoint.family
    kind: Any = attrgetter(family.model)(transformers)
    pooled = {"add_pooling_layer": False} if family.model in POOLED else {}
    model: nn.Module
    if checkpoint.trained:
        renamed = {"key_mapping": dict(family.key_mapping)} if family.key_mapping else {}
        try:
            with _reports_to_the_log():
                model, report = kind.from_pretrained(
                    **checkpoint.where,
                    **pooled,
                    **renamed,
                    config=checkpoint.config,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
        except (OSError, ValueError, RuntimeError) as fault:
            raise EncoderError(
                f"{checkpoint.source}: its weights cannot be loaded as {kind.__name__}: {fault}"
            ) from None
        _check_complete(checkpoint, report["missing_keys"])
    else:
        with torch.random.fork_rng(devices=[]), single_threaded():
            torch.manual_seed(checkpoint.seed)
            model = kind(checkpoint.config, **pooled)
    return model.eval().requires_grad_(False)


def saved_with(checkpoint: Checkpoint, kind: Any) -> Any:
    """What a class of transformers (`AutoTokenizer`, …) finds saved beside a checkpoint's weights;
    None where nothing is, and for random weights."""
    if not checkpoint.trained:
        return None
    try:
        return kind.from_pretrained(**checkpoint.where)
    except (OSError, ValueError):
        return None


@contextmanager
def _reports_to_the_log() -> Iterator[None]:
    """Within, what transformers warns of a checkpoint (of an unused pooler, above all) goes to
    this package's log as information: what matters of it, `_check_complete` raises."""
    noisy, ours = logging.getLogger("transformers.modeling_utils"), logging.getLogger("sedimental")

    def keep(record: logging.LogRecord) -> bool:
        ours.info("%s", record.getMessage())
        return False

    noisy.addFilter(keep)
    try:
        yield
    finally:
        noisy.removeFilter(keep)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within, torch computes in one thread: shared sums round as the number of threads has it, and
    weights made here (norms of normed convolutions) would be others on another machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_complete(checkpoint: Checkpoint, missing: Iterable[str]) -> None:
    """What a checkpoint lacks is drawn at random by the library, with a log line at most."""
    lacking = sorted(name for name in missing if not any(part in name for part in UNUSED))
    if lacking:
        raise EncoderError(
            f"{checkpoint.source}: the checkpoint lacks {len(lacking)} of the encoder's "
            f"parameters ({', '.join(lacking[:3])}, …); they would be random. Save the whole "
            "model with `save_pretrained`."
        )


def _without_weights(features: Features, preset: Preset) -> Checkpoint:
    """An encoder that is a formula: its numbers depend on the library's version alone."""
    if features.weights is not None:
        raise EncoderError(
            f'[[features]] encoder "{features.encoder}" has no weights; leave the key out.'
        )
    family = _family(features, SimpleNamespace(model_type=preset.family))
    config = SimpleNamespace(**preset.config)
    name = slug(features.encoder)
    return Checkpoint(name, family, config, "none", family.model, None, "none", preset)


def _own_config(encoder: str, preset: Preset | None) -> Any:
    if preset is None:
        return _narrowed(transformers.AutoConfig.from_pretrained(encoder))
    config = getattr(transformers, str(FAMILIES[preset.family].config))
    return config(**preset.config)


def _loaded_config(source: str, weights: str, revision: str | None) -> Any:
    try:
        if weights == "folder" and not (Path(source) / "config.json").is_file():
            raise OSError("no config.json in this folder")
        return _narrowed(
            transformers.AutoConfig.from_pretrained(
                source,
                revision=revision or "main",
                trust_remote_code=False,
                **_quietly(weights),
            )
        )
    except (OSError, ValueError) as fault:
        if weights == "hub" and not hub_answers():
            raise UnreachableEncoderError(source) from None
        remedy = (
            "Make the folder with `save_pretrained` of the model and its tokenizer or processor."
            if weights == "folder"
            else "Check the id and the network; offline, point `weights` at a folder made by "
            '`save_pretrained`, or try the pipeline with weights = "random:0".'
        )
        reason = str(fault).strip().splitlines()[0]
        raise EncoderError(f"encoder {source}: cannot be found: {reason} {remedy}") from None


def _narrowed(config: Any) -> Any:
    """The tower of a checkpoint with several that is used here."""
    return config.vision_config if config.model_type == "clip" else config


def _family(features: Features, config: Any) -> Family:
    name = PART_OF.get(config.model_type, config.model_type)
    modality = getattr(features, "modality", None)
    if name not in FAMILIES:
        raise EncoderError(
            f"encoder {features.encoder}: model type {config.model_type!r} is not supported. "
            f"Supported: {', '.join(n for n, f in FAMILIES.items() if f.config)}."
        )
    if FAMILIES[name].modality != modality:
        raise EncoderError(
            f"encoder {features.encoder} reads {FAMILIES[name].modality}, but its [[features]] "
            f'table says modality = "{modality}".'
        )
    return FAMILIES[name]


def digest_of_folder(folder: Path) -> str:
    """Hash of the folder's weight files and configuration."""
    files = sorted({f for pattern in WEIGHT_FILES for f in folder.glob(pattern)})
    if not any(f.suffix in (".safetensors", ".bin") for f in files):
        raise EncoderError(
            f"encoder {folder}: no *.safetensors or pytorch_model*.bin in this folder. Make it "
            "with `save_pretrained`."
        )
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
