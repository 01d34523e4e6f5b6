"""What `make toolkit` says of two sides; the reference itself is not in this environment."""

from typing import Any

import numpy as np
import pytest
from toolkit.generated_file import split
from toolkit.ours import corpus
from toolkit.tables import maes, seconds, tables, within


def epoch(mae: float, cpu: float) -> dict[str, float]:
    return {"mae": mae, "cpu": cpu, "wall": 9.0}


RUNS: list[dict[str, Any]] = [
    {
        "seed": seed,
        "reference": [epoch(1.0 + seed / 10, 8.0), epoch(0.8, 3.0)],
        "ours": [epoch(1.15, 5.0), epoch(0.81, 1.0)],
    }
    for seed in (1, 2)
]


def test_our_mean_is_held_against_the_reference_s_best_and_worst_seed() -> None:
    inside = within(maes(RUNS, "reference"), maes(RUNS, "ours"))
    assert inside.tolist() == [True, False]


def test_a_first_epoch_counts_where_it_is_the_only_one() -> None:
    assert (seconds(RUNS, "reference"), seconds(RUNS, "ours")) == (3.0, 1.0)
    alone = [{"reference": RUNS[0]["reference"][:1]}]
    assert seconds(alone, "reference") == 8.0


def test_a_model_has_a_row_in_both_tables() -> None:
    found = {"lmf": {"clips": [1284, 229, 686], "weights": 505_071, "apart": 7e-16, "runs": RUNS}}
    speed, curves = tables(found).strip().split("\n\n")
    assert speed.splitlines()[-1] == "| `lmf` | 1,284 | 505,071 | 7e-16 | 3.00 | 1.00 | 3.0 |"
    row = curves.splitlines()[-1]
    assert row.startswith("| `lmf` | 2 | 1.150 ± 0.050 | 1.150 ± 0.000 |")
    assert row.endswith("| 1 of 2 |")
    assert all(line.count("|") == row.count("|") for line in curves.splitlines())


@pytest.mark.parametrize("uneven", [True, False])
def test_ours_reads_the_clips_of_the_file(uneven: bool) -> None:
    frames = {"text": 6, "audio": 9, "vision": 12}
    data = corpus((3, 2, 1), frames, uneven)
    written = split(3, 100, frames, uneven)
    rows = data.rows["train"]
    [batch] = data.batches([rows])
    for m in ("text", "audio", "vision"):
        for found, there, whole in zip(batch.features[m], batch.masks[m], written[m], strict=True):
            length = int(there.sum())
            np.testing.assert_array_equal(found[there].numpy(), whole[:length])
            assert not whole[length:].any()
            assert uneven or length == frames[m]
    np.testing.assert_array_equal(batch.labels.numpy(), written["regression_labels"])
