"""The figures of a report, each from the Report alone."""

from .course_figures import training_figure, video_figure
from .drawing import Drawing
from .fit_figures import confusion_figure, scatter_figure
from .results import Report
from .row_figures import rows_figure
from .weight_figures import gate_figures, layers_figure


def figures(report: Report) -> tuple[Drawing, ...]:
    """Every figure that this report has the data for, in reading order."""
    if not report.test_clips:
        return ()
    drawn = (
        rows_figure(report, report.metrics.first),
        rows_figure(report, report.metrics.second),
        scatter_figure(report),
        confusion_figure(report),
        training_figure(report),
        video_figure(report),
        *gate_figures(report),
        layers_figure(report),
    )
    return tuple(figure for figure in drawn if figure is not None)
