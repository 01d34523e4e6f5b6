"""Curves of training in tools that others watch: TensorBoard, MLflow, Weights & Biases.

Off unless `train.tracker` says so. One hook for all: a tracker takes numbers of a step, and
whatever goes wrong with it is told once and costs no run. Nothing of a run depends on it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ..cache.runs import Epoch
from ..cache.runs.identity import flat
from ..config import Config
from ..progress import Progress
from .plan import Plan

FOLDER = "trackers"
"""Below the experiment: where those write that write files."""


class Tracker(Protocol):
    """One run in such a tool."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one epoch."""

    def close(self, summary: Mapping[str, float]) -> None:
        """The run is finished, with these scores."""


class _TensorBoard:
    """Event files below `folder`: ``tensorboard --logdir`` shows them."""

    def __init__(self, folder: Path, title: str, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / "tensorboard" / title.replace(" ", "-"))
        lines = "\n".join(f"    {key} = {value}" for key, value in settings.items())
        self._writer.add_text("settings", lines)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, summary: Mapping[str, float]) -> None:
        self.log(summary, 0)
        self._writer.close()


class _MLflow:
    """A run of the experiment at MLFLOW_TRACKING_URI, else in a database below `folder`."""

    def __init__(self, folder: Path, title: str, settings: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{folder / 'mlflow.db'}"
        self._client, name = MlflowClient(tracking_uri=uri), folder.parent.name
        known = self._client.get_experiment_by_name(name)
        number = known.experiment_id if known else self._client.create_experiment(name)
        self._run = self._client.create_run(number, run_name=title).info.run_id
        for key, value in settings.items():
            self._client.log_param(self._run, key, str(value)[:500])

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self, summary: Mapping[str, float]) -> None:
        self.log(summary, 0)
        self._client.set_terminated(self._run)


class _WandB:
    """A run of the project that is called as the experiment; WANDB_MODE=offline keeps it here."""

    def __init__(self, folder: Path, title: str, settings: Mapping[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=folder.parent.name,
            name=title,
            dir=str(folder),
            config=dict(settings),
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self, summary: Mapping[str, float]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()


TRACKERS: Mapping[str, Callable[[Path, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WandB,
}


class Tracking:
    """What a run tells its tracker, if it has one."""

    def __init__(self, config: Config, plan: Plan, told: Progress, on: bool = True) -> None:
        """`on`: whether this process is the one that tells."""
        self._told = told
        self._tracker: Tracker | None = None
        name = config.train.tracker
        if name is not None and on:
            settings = flat(plan.identity.configuration) | {"seed": plan.seed}
            title = f"{plan.folder.parent.name} {plan.folder.name}"
            folder = config.experiment / FOLDER
            with self._safely():
                self._tracker = TRACKERS[name](folder, title, settings)

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is done."""
        values = {
            "loss/train": epoch.train_loss,
            "loss/valid": epoch.valid_loss,
            "learning_rate": epoch.learning_rate,
            **{f"valid/{key}": value for key, value in epoch.valid.items()},
        }
        if self._tracker is not None:
            with self._safely():
                self._tracker.log(_finite(values), epoch.epoch)

    def finish(self, test: Mapping[str, float], history: Iterable[Epoch] = ()) -> None:
        """The run is done; `history` holds epochs that were not told yet."""
        for epoch in history:
            self.epoch(epoch)
        if self._tracker is not None:
            with self._safely():
                self._tracker.close(_finite({f"test/{key}": value for key, value in test.items()}))

    @contextmanager
    def _safely(self) -> Iterator[None]:
        try:
            yield
        except Exception as fault:  # whatever a tool of others may come up with
            self._tracker = None
            self._told.note(f"warning: the tracker gave up: {type(fault).__name__}: {fault}")


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if value == value}
