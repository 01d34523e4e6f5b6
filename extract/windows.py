"""A long video as clips to predict: windows that slide along it, or its subtitles one by one."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import ManifestError
from .corpora.reading.subtitles import cues, read_text
from .new_clip import NewClip

MOST = 5000
"""Windows of one video; more are a wrong length rather than a wish."""
SUBTITLES = (".srt", ".vtt")


def sliding(
    video: Path, length: float, hop: float | None = None, words: Path | None = None
) -> list[NewClip]:
    """Windows of `length` seconds of `video`, one every `hop` (half a length), the last at its end.

    What is said in each is taken from the subtitles `words`; without them nothing is. Raises
    ManifestError for a video that cannot be opened or does not say how long it is.
    """
    step, whole = hop or length / 2, seconds_of(video)
    if whole / step > MOST:
        raise ManifestError(
            f"{video}: {whole:.0f} s in windows every {step:g} s are more than {MOST}. Give a "
            "longer --window or --hop."
        )
    starts = [0.0]
    while starts[-1] + length < whole:
        starts.append(starts[-1] + step)
    # the last is as long as the others and ends with the video, rather than being a rest
    starts[-1] = max(0.0, min(starts[-1], whole - length))
    clips = []
    for number, start in enumerate(starts, start=1):
        end = min(start + length, whole)
        text = read_text(words, start, end) if words else ""
        clips.append(_clip(video, number, text, start, end))
    return clips


def by_subtitles(video: Path, words: Path) -> list[NewClip]:
    """A clip a subtitle of `words`, as long as it is shown; empty ones are passed over.

    Raises ManifestError for a file without any.
    """
    if words.suffix.lower() not in SUBTITLES:
        raise ManifestError(f"{words}: has no times. Windows by subtitle need .srt or .vtt.")
    read_text(words)  # it is there, and is UTF-8
    shown = [cue for cue in cues(words.read_text(encoding="utf-8-sig")) if cue[2]]
    lasting = [(first, last, text) for first, last, text in shown if last > first]
    if not lasting:
        raise ManifestError(f"{words}: has no subtitle with words and a length.")
    return [
        _clip(video, number, text, first, last)
        for number, (first, last, text) in enumerate(lasting, start=1)
    ]


def windows_of(
    videos: Sequence[Path],
    texts: Sequence[str],
    text_files: Sequence[Path],
    length: float | None,
    hop: float | None = None,
) -> list[NewClip]:
    """The windows that a command line means, video by video; without a `length` by subtitles.

    Raises ManifestError where words have no times, and as the functions above.
    """
    if not videos:
        raise ManifestError("--window, --by-subtitle: name the VIDEO they are of.")
    if any(texts) or any(file.suffix.lower() not in SUBTITLES for file in text_files):
        raise ManifestError(
            "--window: words without times belong to no window. Give subtitles (--text-file with "
            '.srt or .vtt), or --text "" to predict without words.'
        )
    if text_files and len(text_files) != len(videos):
        raise ManifestError(
            f"--text-file: {len(text_files)} given for {len(videos)} videos. Give one for each."
        )
    if length is None:
        if not text_files:
            raise ManifestError("--by-subtitle: give the subtitles by --text-file.")
        pairs = zip(videos, text_files, strict=True)
        return [clip for video, words in pairs for clip in by_subtitles(video, words)]
    files: list[Path | None] = [*text_files] or [None] * len(videos)
    return [
        clip
        for video, words in zip(videos, files, strict=True)
        for clip in sliding(video, length, hop, words)
    ]


def seconds_of(video: Path) -> float:
    """The length of `video`; raises ManifestError where that cannot be told."""
    import av

    from .decode.announced import container_seconds

    try:
        with av.open(str(video)) as container:
            seconds = container_seconds(container)
    except (OSError, av.error.FFmpegError) as fault:
        raise ManifestError(f"{video}: cannot be opened: {fault.strerror or fault}.") from None
    if not seconds:
        raise ManifestError(
            f"{video}: does not say how long it is. Copy it into another container "
            "(`ffmpeg -i IN -c copy OUT.mkv`), or name --start and --end."
        )
    return seconds


def _clip(video: Path, number: int, text: str, start: float, end: float) -> NewClip:
    name = f"{video.name} {clock(start)}-{clock(end)}"
    own = str(number)
    return NewClip(video, text, start, end, id=name, video=video.name, clip=own)


def clock(seconds: float) -> str:
    """Seconds into a video for reading.

    >>> clock(5), clock(65.25), clock(3661)
    ('0:05.0', '1:05.2', '1:01:01.0')
    """
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    front = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{front}:{rest // 10:02d}.{rest % 10}"
