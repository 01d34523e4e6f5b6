"""`sedimental cache import` and `export`: features from and for others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    PipelineFile,
    bars,
    fail,
    out,
    places,
    print_json,
    say,
    tell,
    working,
)

if TYPE_CHECKING:
    from ..spec import Modality

SHOWN = 5
"""Clips without features that are named on the terminal."""


def import_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="A feature file of MMSA or MultiBench (pickle, .npz, .npy), a folder as MERBench "
            "has it, or a .csd or a folder of them.",
            show_default=False,
        ),
    ],
    corpus: Annotated[
        str | None,
        typer.Option(help="What to call the corpus; one of this name that is there is added to."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Cache root.", show_default="that of the pipeline, else features"),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to call the text features. Of a folder: which features are text.",
        ),
    ] = None,
    audio: Annotated[str | None, typer.Option(metavar="NAME", help="The same of sound.")] = None,
    vision: Annotated[str | None, typer.Option(metavar="NAME", help="The same of faces.")] = None,
    labels: Annotated[
        Literal["scores", "classes"] | None,
        typer.Option(help="What the labels are.", show_default="as they look, and said"),
    ] = None,
    language: Annotated[
        Literal["english", "chinese"] | None,
        typer.Option(help="Which of MERBench's transcripts.", show_default="the corpus's own"),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of .csd: the sequence onto whose steps the others are put."
        ),
    ] = None,
    collapse: Annotated[
        str,
        typer.Option(
            help="With --align, how rows that overlap a step become one: mean, weighted (by "
            "overlap), max, min, sum, first or last."
        ),
    ] = "mean",
    dtype: Annotated[
        Literal["float16", "float32"],
        typer.Option(help="Number type to keep; float16 rounds, in half the space."),
    ] = "float32",
    config: Annotated[
        PipelineFile,
        typer.Option("--config", "-c", help="Pipeline to write if it is not there yet."),
    ] = PIPELINE,
    json: AsJson = False,
) -> None:
    """Take features that others have made into the cache, to train on without any extraction.

    Pickles are read as plain data: nothing that is in one can run. Exit code 3: some clips have
    no features (they are listed).
    """
    from ..store.atomic_write import replace
    from .csd.read import Aligned
    from .import_features import NAME, receive
    from .open import corpus_name, open_foreign
    from .pipeline_snippet import lines, scale, whole
    from .terminal import absent_lines, received_json, received_table

    if corpus is not None and not NAME.fullmatch(corpus):
        fail(f"--corpus {corpus!r}: take letters, digits, . _ and -.", 2)
    there = config.path.is_file()
    if root is None:
        root = places(config).cache.root if there else config.path.parent / "features"
    names = _given(text, audio, vision)
    with working(f"reading {source}"):
        aligned = None if align is None else Aligned(align, collapse)
        foreign = open_foreign(source, names, labels, language, aligned)
    folder = root / (corpus or corpus_name(source))
    with bars() as progress:
        received = receive(foreign, folder, names, dtype, progress=progress)
    paste = lines(received, config.path)
    if not there:
        replace(config.path, whole(received, config.path))
    if json:
        print_json(received_json(received) | {"pipeline": paste})
    else:
        out().print(received_table(received))
        wrote = f"wrote {config}: `sedimental train` comes next."
        say(f"To paste into {config}:\n{paste.rstrip()}" if there else wrote)
    notes = [*received.notes, *scale(received.manifest).notes]
    for line in [*absent_lines(received, SHOWN), *(f"note: {note}" for note in notes)]:
        tell(line)
    if any(one.absent for one in received.arrivals):
        raise typer.Exit(3)


def export_command(
    path: Annotated[
        Path,
        typer.Argument(help="File (mmsa, npz, parquet) or folder to write.", show_default=False),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="mmsa: the feature pickle that MMSA loads. fra, utt: MERBench's folder with a "
            "file a clip, of its frames or of their mean. csd: a folder of computational "
            "sequences. npz: the columns of mmsa as plain numpy arrays. parquet: a row a clip "
            "(needs pyarrow). webdataset: a folder of tar shards, a sample a clip.",
        ),
    ] = "mmsa",
    config: ConfigFile = PIPELINE,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER:LAYER",
            help="The text features to write.",
            show_default="those of [train.inputs]",
        ),
    ] = None,
    audio: Annotated[
        str | None, typer.Option(metavar="ENCODER:LAYER", help="The same of sound.")
    ] = None,
    vision: Annotated[
        str | None, typer.Option(metavar="ENCODER:LAYER", help="The same of faces.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Write cached layers as the files that other tools of the field load."""
    from ..corpus.corpus_table import cached_manifest
    from .added_formats import check_name
    from .export import export
    from .export_features import choose
    from .terminal import sent_json, sent_table

    check_name(to)
    checked = places(config)
    manifest = cached_manifest(checked)
    chosen = choose(checked, _given(text, audio, vision))
    with bars() as progress:
        sent = export(to, path, manifest, chosen, progress)
    if json:
        print_json(sent_json(sent))
    else:
        out().print(sent_table(sent))
    notes = list(sent.notes)
    if to == "mmsa" and any(one.lacking for one in sent.shipped):
        notes.append("a clip without features of a modality is one frame of zeros there.")
    if to == "mmsa" and any(one.unmasked for one in sent.shipped):
        notes.append("frames without a face are written as they are stored: MMSA masks none.")
    for note in notes:
        tell(f"note: {note}")


def _given(text: str | None, audio: str | None, vision: str | None) -> "dict[Modality, str]":
    names: dict[Modality, str | None] = {"text": text, "audio": audio, "vision": vision}
    return {modality: name for modality, name in names.items() if name is not None}
