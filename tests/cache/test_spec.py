"""The fingerprint: it changes if, and only if, something that decides the numbers does."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedimental.cache.spec import FeatureSpec
from sedimental.errors import StoreError

SPEC = FeatureSpec(
    modality="vision",
    encoder="toy",
    source="org/toy",
    revision="abc",
    weights="hub",
    weights_digest="00",
    layers=("0", "1", "2", "final"),
    width=4,
    preprocessing={"fps": 3.0, "margin": 0},
    recorded={"torch": "2"},
)
OTHERS: dict[str, Any] = {
    "modality": "audio",
    "encoder": "tin",
    "source": "org/tin",
    "revision": None,
    "weights": "random:0",
    "weights_digest": "01",
    "layers": ("0", "1", "2"),
    "width": 5,
    "dtype": "float32",
    "preprocessing": {"fps": 3.0, "margin": 1},
}
scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)


@pytest.mark.parametrize("name", [f.name for f in fields(FeatureSpec) if f.name != "recorded"])
def test_every_ingredient_counts(name: str) -> None:
    assert replace(SPEC, **{name: OTHERS[name]}).fingerprint != SPEC.fingerprint


@given(st.dictionaries(st.text(), scalars))
def test_what_is_only_recorded_does_not(recorded: dict[str, Any]) -> None:
    assert replace(SPEC, recorded=recorded).fingerprint == SPEC.fingerprint


@given(st.dictionaries(st.text(), scalars))
def test_neither_the_order_of_settings_nor_a_file_between_changes_it(given: dict[str, Any]) -> None:
    spec = replace(SPEC, preprocessing=given)
    turned = replace(SPEC, preprocessing=dict(reversed(given.items())))
    assert turned.fingerprint == spec.fingerprint
    back = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert back.fingerprint == spec.fingerprint


@pytest.mark.parametrize(
    ("asked", "found"), [(0, 0), (2, 2), (-1, 2), (-3, 0), ("final", 3), ("1", 1)]
)
def test_layers_count_as_papers_do(asked: int | str, found: int) -> None:
    assert SPEC.positions([asked]) == (found,)


@pytest.mark.parametrize("asked", [3, -4, "last"])
def test_a_layer_that_is_not_stored_is_named(asked: int | str) -> None:
    with pytest.raises(StoreError, match=r"not stored\. Stored: 0, 1, 2, final"):
        SPEC.positions([asked])
