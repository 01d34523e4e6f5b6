"""How every figure is drawn: size, type, colours that work on white, on black and in print.

matplotlib draws with the colours of a light page, which a PNG or PDF keeps; `to_svg` replaces each
by a CSS variable, so that one drawing serves light and dark. The hues of modalities are those of
Okabe and Ito, told apart by colour-blind readers; where two meet, marker or dash differs as well.
"""

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any

from ...escape import for_terminal
from ..results import Drawing

WIDTH, WHOLE = 500, 1040
"""Of a figure in CSS pixels, and of a wide one; type is set for this size."""

INK, MUTED, RULE, PAPER = "#1b1f24", "#5c636b", "#d5d8dc", "#ffffff"
TEXT, AUDIO, VISION, ACCENT = "#0072b2", "#c24e00", "#007a5a", "#8a4f7d"
MODELS = ("#3f46a8", "#a8343f", "#7a6a00", "#b0408f", "#3d7f89", "#6b4f3a")
"""Of models on several modalities; `row_style.py` deals them out."""
MODALITY_COLOURS: Mapping[str, str] = {
    "text": TEXT,
    "audio": AUDIO,
    "vision": VISION,
    "T": TEXT,
    "A": AUDIO,
    "V": VISION,
}
MODALITY_MARKERS: Mapping[str, str] = {"T": "s", "A": "^", "V": "D"}
MARKS: Any = {"ms": 4.5, "mec": PAPER, "mew": 0.5}
"""Markers along a line, parted from it by a rim."""
ALONE: Any = {"ls": "none", "mec": PAPER, "mew": 0.6, "ms": 5}
"""Markers without a line."""

_VARIABLES: Mapping[str, str] = {
    INK: "currentColor",
    **{
        colour: f"var(--{name}, {colour})"
        for name, colour in (
            ("muted", MUTED),
            ("rule", RULE),
            ("paper", PAPER),
            ("text-hue", TEXT),
            ("audio-hue", AUDIO),
            ("vision-hue", VISION),
            ("accent", ACCENT),
            *((f"model-{number}", colour) for number, colour in enumerate(MODELS)),
        )
    },
}
_COLOUR = re.compile("|".join(_VARIABLES))
_LONG = re.compile(r"(\d\.\d\d)\d+")
"""A hundredth of a pixel is enough."""

_PLAIN = {ord(c): f"&#{ord(c)};" for c in '"#'}

_STYLE: Any = {
    "text.parse_math": False,  # a dollar sign in the name of a class is one
    "svg.fonttype": "none",  # text stays text: crisp, searchable, in the page's own typeface
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "figure.facecolor": "none",
    "pdf.fonttype": 42,  # letters as letters, which journals ask for
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
}


class Canvas:
    """One figure of panels, drawn in a ``with``; `svg` is the result.

    `rows` panels lie under each other; with several `columns`, side by side, the figure is wide.
    """

    def __init__(
        self, key: str, height: float, rows: int = 1, columns: int = 1, **options: Any
    ) -> None:
        """`height` in CSS pixels; `options` go to matplotlib's ``subplots``."""
        self.key, self.height, self.rows, self.options = key, height, rows, options
        self.columns = columns

    def __enter__(self) -> "Canvas":
        """The canvas, its `panels` ready to draw on."""
        import matplotlib as mpl
        from matplotlib.figure import Figure

        # the salt makes ids equal on every run and different between figures of one page
        self._style = mpl.rc_context({**_STYLE, "svg.hashsalt": self.key})
        self._style.__enter__()
        width = WIDTH if self.columns == 1 else WHOLE
        self.figure = Figure(figsize=(width / 72, self.height / 72), dpi=72, layout="constrained")
        shape = self.rows, self.columns
        self.panels = self.figure.subplots(*shape, squeeze=False, **self.options).flatten()
        return self

    def legend(self, columns: int) -> None:
        """Above the panels, what their lines are called; each name once."""
        names: dict[str, Any] = {}
        for axes in self.panels:
            lines, labels = axes.get_legend_handles_labels()
            names = dict(zip(labels, lines, strict=True)) | names
        self.figure.legend(names.values(), names.keys(), loc="outside upper left", ncols=columns)

    def __exit__(self, *fault: object) -> None:
        """Turn what was drawn into `svg`."""
        if fault[0] is None:
            self.svg = to_svg(self.figure, self.key)
        self._style.__exit__(None, None, None)

    def drawing(self, title: str, caption: str, row: str = "") -> Drawing:
        """What was drawn; `row` where each row of the table has one of its own."""
        return Drawing(self.key, title, caption, self.svg, self.columns > 1, row, self.figure)


def to_files(figure: Any) -> Mapping[str, bytes]:
    """The matplotlib `figure` by file type: ``png`` at 200 dots an inch, and ``pdf``."""
    import matplotlib as mpl

    found = dict[str, bytes]()
    dates: Mapping[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        for kind, metadata in dates.items():
            out = io.BytesIO()
            white = {"facecolor": PAPER} if kind == "png" else {}
            figure.savefig(out, format=kind, dpi=200, metadata=metadata, **white)
            found[kind] = out.getvalue()
    return found


def to_svg(figure: Any, key: str) -> str:
    """The matplotlib `figure` as one ``<svg>`` element that may stand inside HTML.

    No prolog, no metadata, no namespace links; ids are prefixed with `key` so that two figures of
    one page do not meet.
    """
    out = io.StringIO()
    with warnings.catch_warnings():  # a letter that matplotlib's own font lacks: the page's has it
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(out, format="svg", metadata={"Date": None})
    # what matplotlib wrote of others' names, which XML does not allow or what follows would change
    svg = for_terminal(out.getvalue(), keep="\n\t")
    svg = re.sub(r"(<text[^>]*>)([^<]*)", lambda m: m[1] + m[2].translate(_PLAIN), svg)
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box is not None
    rest = rest.replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', rest))
    rest = re.sub(r' id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", rest)
    rest = re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", rest)
    rest = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", rest)
    rest = _COLOUR.sub(lambda found: _VARIABLES[found[0]], rest)
    rest = re.sub(r"<[^>]+>", lambda tag: _LONG.sub(r"\1", tag[0]), rest)
    rest = re.sub(r"\n\s*", "\n", rest)
    return f'<svg viewBox="{box[1]}" role="img" aria-labelledby="{key}-title">{rest}'
