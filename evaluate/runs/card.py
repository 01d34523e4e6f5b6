"""The card of a trained model: what it is, what it reads, what it reached, how it is used."""

import json
from collections.abc import Sequence

import numpy as np

from ...cache.runs import Run
from ...cache.runs.identity import code_version
from ...escape import for_markdown
from ..protocols import protocol_of
from ..warnings import untrained

HUB = {"MAE": "mae", "Corr": "pearsonr", "Accuracy": "accuracy"}
"""The Hub's names of metrics, where it has the same one."""


def model_card(runs: Sequence[Run]) -> str:
    """A README.md of the seeds `runs` of one configuration, with the head that the Hub reads."""
    run = runs[0]
    protocol = protocol_of(run.predictions.classes or run.protocol or "mosi")
    scores = {
        m.key: np.array([r.metrics.get("test", {}).get(m.key, np.nan) for r in runs])
        for m in protocol.metrics
    }
    known = {key: own for key, own in scores.items() if np.isfinite(own).all()}
    name = f"{run.row}, trained on {run.corpus}"
    head = {
        "library_name": "sedimental",
        "tags": ["multimodal-sentiment-analysis", run.model, *run.modalities],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "other", "name": "multimodal sentiment analysis"},
                        "dataset": {"name": run.corpus, "type": run.corpus, "split": "test"},
                        "metrics": [
                            {"type": HUB.get(key, key), "name": key, "value": float(own.mean())}
                            for key, own in known.items()
                        ],
                    }
                ],
            }
        ],
    }
    # JSON is YAML, and leaves no room for what a corpus may be called
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---", ""]
    lines += [f"# {for_markdown(name)}", ""]
    lines += [f"**{c.kind}**: {for_markdown(c.text)}" for c in untrained(run.inputs)]
    lines += ["", "| metric, test split | mean | std over seeds |", "|---|---:|---:|"]
    lines += [
        f"| {for_markdown(m.key)} | {m.show(float(known[m.key].mean()))} "
        f"| {m.show(float(known[m.key].std()))} |"
        for m in protocol.metrics
        if m.key in known
    ]
    lines += ["", f"Seeds: {', '.join(str(r.seed) for r in runs)}. Chosen epoch: best in"]
    lines[-1] += f" {for_markdown(run.criterion)} on validation; test was scored there only."
    lines += ["", "| input | encoder | weights | layers |", "|---|---|---|---|"]
    lines += [
        f"| {one.modality} | {for_markdown(one.encoder)} | {for_markdown(one.weights)} "
        f"| {for_markdown(', '.join(one.layers))}{', weighted' if one.weighted else ''} |"
        for one in run.inputs
    ]
    words = ' --text "What is said in it."' if "text" in run.modalities else ""
    lines += [
        "",
        "## Use",
        "",
        "```console",
        "$ sedimental runs unpack PACKED.zip",
        f"$ sedimental predict {_folder(run)} video.mp4{words}",
        "```",
        "",
        "Features of a new clip are made as in training; where an encoder's weights are others,",
        "nothing is predicted.",
        "",
        "## Before you publish",
        "",
        "- The archive holds weights, settings, and for every clip of the corpus its id, label and",
        "  prediction; no words, sound or pictures.",
        "- It states no licence: those of the corpus and of the encoders bind what you may share.",
        f"- {sum(r.parameters for r in runs) // len(runs):,} trained weights; made by sedimental",
        f"  {code_version()} with {_versions(run)}.",
        "- Scores tell how people spoke in this corpus, and were not tested on anybody else.",
        "",
    ]
    return "\n".join(lines)


def _folder(run: Run) -> str:
    row = run.row.replace(" ", "-")
    return f"{row}-{run.identity.short}" if run.identity else row


def _versions(run: Run) -> str:
    names = ("python", "torch", "numpy", "commit")
    return ", ".join(f"{n} {run.environment[n]}" for n in names if n in run.environment)
