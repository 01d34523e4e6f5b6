"""`sedimental predict`: a trained run asked about new clips, whole, in windows, or on a page."""

from pathlib import Path
from typing import Annotated

import typer

from .command_line import ROWS
from .console import (
    PIPELINE,
    AsJson,
    ConfigFile,
    bars,
    exit_on_fault,
    fail,
    out,
    places,
    print_json,
    say,
    tell,
)


def predict_command(
    run: Annotated[
        str,
        typer.Argument(
            help='A seed\'s run folder, a folder of seeds, or a row ("uegd TAV").',
            autocompletion=ROWS,
        ),
    ],
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="VIDEO...", help="Clips to predict.", exists=True, dir_okay=False),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help='What is said; once for each VIDEO, in order. "": predict without it.'),
    ] = None,
    text_file: Annotated[
        list[Path] | None,
        typer.Option(help="The same from text files, or from subtitles (.srt, .vtt)."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="A table of clips: columns media, text, and start, end, id if need be.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    start: Annotated[float | None, typer.Option(help="Seconds into the only VIDEO.")] = None,
    end: Annotated[float | None, typer.Option(help="Where the clip ends.")] = None,
    window: Annotated[
        float | None,
        typer.Option(help="Seconds: predict each VIDEO in windows sliding along it.", min=0.1),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds between windows; unset: half a window.", min=0.05)
    ] = None,
    by_subtitle: Annotated[
        bool, typer.Option("--by-subtitle", help="Predict each subtitle of --text-file by itself.")
    ] = False,
    timeline: Annotated[
        Path, typer.Option(help="Folder for the time line of windows: CSV, SVG and PNG.")
    ] = Path("timeline"),
    web: Annotated[
        bool,
        typer.Option("--web", help="Serve a page to this machine's browser: drop a video, see."),
    ] = False,
    port: Annotated[int, typer.Option(help="For --web; 0: a free one.", min=0, max=65535)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    predictions: Annotated[
        Path | None, typer.Option(help="Also write them to this file: .csv or .parquet.")
    ] = None,
    config: ConfigFile = PIPELINE,
    json: AsJson = False,
) -> None:
    """Predict new clips with a trained run: decode, extract as in training, ask the model.

    Of several seeds the mean and the spread. A clip that lacks a modality is predicted from the
    others; exit code 3 if a clip could not be predicted at all. --window and --by-subtitle predict
    a long video piece by piece, and write its time line.
    """
    from functools import partial

    from .checks import planned
    from .evaluate.output.prediction_terminal import prediction_to_terminal
    from .evaluate.selection import current_of, manifest_of
    from .extract.new_clips import clips_of
    from .extract.windows import windows_of
    from .predicting import predict as predict_clips

    if predictions is not None:
        from .cache.table_file import check_table

        check_table(predictions, "--predictions")
    windows = window is not None or by_subtitle
    if window is not None and by_subtitle:
        fail("--window, --by-subtitle: give one of them; subtitles are windows of their own.", 2)
    words = text or [], text_file or []
    if web:
        clips = []
    elif windows:
        clips = windows_of(videos or [], *words, window, hop)
    else:
        clips = clips_of(videos or [], *words, start, end)
    experiment, current = Path(), None
    if not Path(run).is_dir():
        checked = places(config)
        experiment = checked.experiment
        current = current_of(checked, manifest_of(checked), planned)
    asked = partial(predict_clips, run, experiment=experiment, device=device, current=current)
    if web:
        from .cache.runs import read_run
        from .cache.runs.names import find_folders
        from .predict_page import PredictPage

        known = read_run(find_folders(run, experiment, current)[0])
        title = f"{known.row}, trained on {known.corpus}"
        page = PredictPage(partial(asked, faces=True), title, known.modalities, port)
        say(f"predict: {page.loopback.url} (Ctrl-C ends it)")
        return page.serve()
    with exit_on_fault("stopped; nothing of it is kept."), bars() as progress:
        found = asked(clips, table=table, progress=progress)
    if predictions is not None:
        from .evaluate.output.prediction_files import write_new_predictions

        write_new_predictions(predictions, found)
    files: tuple[Path, ...] = ()
    if windows:
        from .evaluate.output.timeline_files import write_timeline

        files = write_timeline(timeline, found)
    if json:
        print_json({**found.to_json(), "timeline": [str(file) for file in files]})
    else:
        out().print(prediction_to_terminal(found))
        if files:
            say(f"timeline: {timeline} ({', '.join(file.name for file in files)})")
    if found.failed:
        names = ", ".join(clip.id for clip in found.failed)
        told = f"{len(found.failed)} of {len(found.clips)} clips could not be predicted: {names}"
        tell(told)
        raise typer.Exit(3)
