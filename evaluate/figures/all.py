"""The figures of a report."""

from ..results import Drawing, Report
from .confusion_scatter import confusion_figures, scatter_figures
from .gates_layers import gate_figures, layers_figure
from .results_bars import rows_figure
from .training_curves import training_figure, video_figure

ONE_EACH = Drawing(
    "variance", "Variance within and between videos", "Left out: no video has two test clips.", ""
)


def figures(report: Report) -> tuple[Drawing, ...]:
    """Every figure that this report has the data for, in reading order."""
    if not report.test_clips:
        return report.drawings
    drawn = (
        rows_figure(report, report.metrics.first),
        rows_figure(report, report.metrics.second),
        *scatter_figures(report),
        *confusion_figures(report),
        training_figure(report),
        video_figure(report),
        *gate_figures(report),
        layers_figure(report),
        None if report.metrics.of_classes or report.analyses.variances else ONE_EACH,
    )
    return (*(figure for figure in drawn if figure is not None), *report.drawings)
