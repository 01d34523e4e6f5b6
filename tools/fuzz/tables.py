"""Feature tables that are well-formed pickles of odd content: what other people's scripts write."""

import random
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    None,
    "",
    "\ud800",
    "a\0b",
    "../x",
    b"\xff",
    -1,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("-inf"),
    [],
    {},
    (),
    [[]],
    [None],
    {"a": 1},
    np.zeros(0),
    np.zeros((0, 3)),
    np.zeros((2, 0)),
    np.array(["x"], object),
    np.array([b"x"]),
    np.full((3, 2), np.nan),
    np.float32(3),
    True,
)


def odd_tables(splits: dict[str, Any], by: random.Random) -> None:
    """Change one to three things in the tables: a value, a column, a split."""
    for _ in range(by.choice((1, 1, 2, 3))):
        split = by.choice(list(splits))
        if not isinstance(splits[split], dict) or by.random() < 0.05:
            splits[split] = by.choice(ODD)
            continue
        table = splits[split]
        key = by.choice([*table, "id", "text_bert", "audio_lengths"])
        match by.randrange(6):
            case 0:
                table.pop(key, None)
            case 1:
                table[key] = by.choice(ODD)
            case 2 if key in table:
                table[key] = _with_odd(table[key], by)
            case 3 if key in table:
                table[key] = list(table[key])[:-1] if np.iterable(table[key]) else by.choice(ODD)
            case 4 if isinstance(table.get(key), np.ndarray):
                table[key] = _other_form(table[key], by)
            case _:
                table[by.choice(("visual", "labels", "text_lengths", "vision_lengths"))] = (
                    by.choice((*ODD, *table.values()))
                )


def _with_odd(column: Any, by: random.Random) -> Any:
    """The column with an odd value in one place."""
    try:
        if isinstance(column, np.ndarray) and column.dtype.kind == "f" and by.random() < 0.6:
            changed = column.copy()
            changed.flat[by.randrange(changed.size)] = by.choice((np.nan, np.inf, -np.inf, 1e38, 0))
            return changed
        values = list(column)
        values[by.randrange(len(values))] = by.choice(ODD)
        return values
    except (TypeError, ValueError, IndexError):
        return by.choice(ODD)


def _other_form(array: Any, by: random.Random) -> Any:
    """The array as another type, or of another shape."""
    match by.randrange(6):
        case 0:
            return array.astype(object)
        case 1:
            return array.tolist()
        case 2:
            return array.reshape(-1)
        case 3:
            return array[..., None]
        case 4:
            return array.astype("U8")
        case _:
            return array.T
