"""The names that a foreign pickle may say, and what is made of each; none of them is looked up."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .arrays import Order, numbers_of
from .limits import Budget, RefusedError, shown
from .values import ArraySaid, DtypeSaid, Global, LatinText, OldText, text_of

KEYS = frozenset({str, bytes, int, float, bool, type(None)})
"""Types of keys: their hashes cannot be made to agree in masses, and none holds another value."""
ENTRY = 100
"""Bytes of an entry of a dict or a set, about."""
HINTS = {
    "torch": "It holds torch tensors; where you trust the file, turn them into arrays with "
    "`tensor.numpy()`, pickle it again, and import that.",
    "pandas": "It holds a pandas table; where you trust the file, write it with `table.to_csv` "
    "(clips), or pickle `table.to_dict('list')` (features), and import that.",
    "scipy": "It holds sparse matrices; where you trust the file, pickle `matrix.toarray()`.",
    "numpy.ma": "It holds masked arrays; where you trust the file, pickle `array.filled(0)`.",
    "numpy.matrixlib": "It holds matrices; where you trust the file, pickle `numpy.asarray` of "
    "each.",
}


def key_of(value: Any) -> Any:
    """`value` as a key of a dict or a member of a set; raises RefusedError for anything else."""
    kind = type(value)
    if kind is OldText or kind is LatinText:
        return value.text
    if kind not in KEYS:
        raise RefusedError(f"it holds a {shown(kind.__name__)} as a key")
    return value


class Globals:
    """The known names of one file, with what each makes; memory is charged to its budget."""

    def __init__(self, budget: Budget) -> None:
        self._charge = budget.charge
        plain: dict[str, Callable[..., Any] | None] = {
            "set": partial(self._members, set),
            "frozenset": partial(self._members, frozenset),
            "list": partial(self._sequence, list),
            "tuple": partial(self._sequence, tuple),
            "dict": self.dict_of,
            "bytes": self._bytes,
            "bytearray": self._bytes,
            "complex": self._complex,
            **dict.fromkeys(("str", "unicode", "int", "long", "float", "bool", "object")),
        }
        known: dict[tuple[str, str], Callable[..., Any] | None] = {
            (module, name): call
            for module in ("builtins", "__builtin__")  # the second is what Python 2 wrote
            for name, call in plain.items()
        }
        known |= {
            ("collections", "OrderedDict"): self.dict_of,
            ("collections", "Counter"): self.dict_of,
            ("collections", "defaultdict"): self._defaultdict,
            ("_codecs", "encode"): self._encode,  # how protocol 2 writes bytes
            ("copyreg", "_reconstructor"): self._reconstructor,
            ("copy_reg", "_reconstructor"): self._reconstructor,
            ("numpy", "ndarray"): None,  # only ever named to `_reconstruct`
            ("numpy", "dtype"): _dtype,
        }
        for core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
            known[f"{core}.multiarray", "_reconstruct"] = _blank
            known[f"{core}.multiarray", "scalar"] = self._scalar
            known[f"{core}.numeric", "_frombuffer"] = self._frombuffer
        self._known = {said: Global(".".join(said), call) for said, call in known.items()}

    def find(self, module: str, name: str) -> Global:
        """What stands for a name; raises RefusedError for one that is not known."""
        if found := self._known.get((module, name)):
            return found
        hint = next((h for m, h in HINTS.items() if f"{module}.".startswith(f"{m}.")), "")
        raise RefusedError(
            f"it asks for {shown(f'{module}.{name}')}" + (f". {hint}" if hint else "")
        )

    def call(self, function: Any, given: Any) -> Any:
        """What a known function makes of `given`; raises RefusedError for anything else."""
        if type(function) is not Global or function.call is None or type(given) is not tuple:
            raise RefusedError("it calls what is no function")
        try:
            return function.call(*given)
        except TypeError:  # too many or too few
            raise RefusedError(f"it calls {function.name} with what it does not take") from None

    def dict_of(self, pairs: Any = ()) -> dict[Any, Any]:
        """A dict of another, or of pairs; the order is kept, as an OrderedDict's is."""
        if type(pairs) is dict:
            self._charge(64 + ENTRY * len(pairs))
            return dict(pairs)
        self._charge(64 + ENTRY * len(_items(pairs)))
        found = {}
        for pair in pairs:
            if type(pair) not in (tuple, list) or len(pair) != 2:
                raise RefusedError("it makes a dict of what are no pairs")
            found[key_of(pair[0])] = pair[1]
        return found

    def _defaultdict(self, factory: Any = None, pairs: Any = ()) -> dict[Any, Any]:
        if factory is not None and type(factory) is not Global:
            raise RefusedError("it holds a defaultdict of what is no type")
        return self.dict_of(pairs)

    def _members(self, kind: Callable[..., Any], values: Any = ()) -> Any:
        self._charge(216 + ENTRY * len(_items(values)))
        return kind(map(key_of, values))

    def _sequence(self, kind: Callable[..., Any], values: Any = ()) -> Any:
        self._charge(64 + 8 * len(_items(values)))
        return kind(values)

    def _complex(self, real: Any = 0.0, imaginary: Any = 0.0) -> complex:
        if type(real) is not float or type(imaginary) is not float:
            raise RefusedError("it makes a number of what is none")
        return complex(real, imaginary)

    def _bytes(self, value: Any = b"", encoding: Any = "latin-1") -> bytes:
        return value if type(value) is bytes else self._encode(value, encoding)

    def _encode(self, value: Any, encoding: Any = "latin-1") -> bytes:
        if text_of(encoding) not in ("latin1", "latin-1"):
            raise RefusedError(f"it asks for the codec {shown(repr(text_of(encoding)))}")
        if type(value) is OldText:
            return value.raw
        if type(value) is LatinText:
            self._charge(len(value.raw))
            return value.raw
        if type(value) is not str:
            raise RefusedError("it makes bytes of what is no text")
        self._charge(len(value))
        return value.encode("latin-1")

    def _reconstructor(self, kind: Any, base: Any, state: Any) -> Any:
        if type(kind) is not Global or kind is not base or kind.call is None:
            raise RefusedError("it asks for an object of a class")
        return self.call(kind, (state,))

    def _scalar(self, kind: Any, data: Any = b"") -> Any:
        """One number or text."""
        return self._numbers(data, kind, ()).item()

    def _frombuffer(
        self, data: Any, kind: Any, shape: Any, order: Any, axes: Any = None
    ) -> ArraySaid:
        """How protocol 5 writes arrays of numbers."""
        if axes is not None and (type(axes) is not tuple or any(type(n) is not int for n in axes)):
            raise RefusedError("it holds an array whose axes are no order")
        if order not in (("C", "F") if axes is None else ("K",)):
            raise RefusedError("it holds an array of no order")
        return ArraySaid().put_numbers(
            self._numbers(data, kind, shape, "F" if order == "F" else "C", axes)
        )

    def build(self, array: ArraySaid, state: Any) -> None:
        """Give an empty array its shape, type and content."""
        if type(state) is not tuple or len(state) < 4 or array.array is not None or array.items:
            raise RefusedError("it holds the state of an array that is none")
        shape, kind, columns_first, data = state[-4:]
        order: Order = "F" if columns_first is True or columns_first == 1 else "C"
        if type(data) is list:
            if type(kind) is not DtypeSaid or not kind.dtype.hasobject:
                raise RefusedError("it holds objects where numbers should be")
            array.put_objects(data, _shape(shape), order)
        else:
            array.put_numbers(self._numbers(data, kind, shape, order))

    def _numbers(
        self, data: Any, kind: Any, shape: Any, order: Order = "C", axes: Any = None
    ) -> Any:
        raw = data.raw if type(data) is OldText else data
        if type(kind) is not DtypeSaid or type(raw) is not bytes:
            raise RefusedError("it holds an array of no type, or of what are no bytes")
        self._charge(len(raw))
        return numbers_of(raw, kind.dtype, _shape(shape), order, axes)


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is int:
        return (shape,)
    if type(shape) is not tuple:
        raise RefusedError("it holds an array whose shape is none")
    return shape


def _items(values: Any) -> Any:
    if type(values) not in (list, tuple, dict, set, frozenset):
        raise RefusedError("it makes a container of what is none")
    return values


def _blank(kind: Any, *_: Any) -> ArraySaid:
    if type(kind) is not Global or kind.name != "numpy.ndarray":
        raise RefusedError("it asks for an array of another class")
    return ArraySaid()


def _dtype(code: Any, *_: Any) -> DtypeSaid:
    if (text := text_of(code)) is None:
        raise RefusedError("it holds an array of no type")
    return DtypeSaid(text)
