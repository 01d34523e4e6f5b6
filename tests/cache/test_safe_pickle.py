"""Foreign pickles and numpy files: what is plain is read as Python reads it, the rest refused."""

import contextlib
import io
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedimental.cache.safe_pickle.limits import Limits, PickleRefusedError
from sedimental.cache.safe_pickle.load import load_plain, read_plain
from sedimental.cache.safe_pickle.npy import load_npy, load_npz

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**100), 2**100)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
KEYS = st.text(max_size=5) | st.integers(-9, 9) | st.binary(max_size=3)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.tuples(inner, inner)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
    ),
    max_leaves=30,
)


def plain(data: bytes, limits: Limits | None = None) -> Any:
    return read_plain(io.BytesIO(data), "x.pkl", len(data), limits or Limits())


def typed(value: Any) -> Any:
    """The value with every type beside it: 1, 1.0 and True are equal without."""
    if isinstance(value, (list, tuple)):
        return type(value), [*map(typed, value)]
    if isinstance(value, dict):
        return [(typed(key), typed(own)) for key, own in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), {(type(own), own) for own in value}
    return type(value), value


@settings(max_examples=60)
@given(value=PLAIN, protocol=st.integers(0, 5))
def test_plain_data_is_read_as_python_reads_it(value: Any, protocol: int) -> None:
    assert typed(plain(pickle.dumps(value, protocol))) == typed(value)


ARRAYS = [
    np.arange(6, dtype="f4").reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(24, dtype="i2").reshape(2, 3, 4).transpose(1, 0, 2),
    np.arange(5, dtype=">f4"),
    np.array([True, False]),
    np.array(["a", "wörd"]),
    np.array([b"a", b"bc"]),
    np.zeros((0, 50, 3), np.float32),
    np.array(["a", None, [1, 2], np.arange(3)], object),
    np.array(3.5),
    np.arange(3, dtype=np.float16),
    np.array([1 + 2j]),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_are_read_bit_by_bit(array: Any, protocol: int) -> None:
    found = plain(pickle.dumps({"a": array, "again": array}, protocol))["a"]
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    np.testing.assert_equal(found.tolist(), array.tolist())
    assert not found.flags.writeable or array.dtype == object or not array.size


@pytest.mark.parametrize("protocol", range(6))
def test_kinds_of_dicts_and_single_numbers_come_as_plain_ones(protocol: int) -> None:
    lists: defaultdict[str, list[int]] = defaultdict(list, {"a": [1]})
    value = [
        OrderedDict([("b", 1), ("a", 2)]),
        lists,
        Counter("aab"),
        np.float32(0.1),
        np.str_("t"),
    ]
    found = plain(pickle.dumps([*value, bytearray(b"raw")], protocol))
    assert [*map(type, found)] == [dict, dict, dict, float, str, bytes]
    assert found[:3] == [{"b": 1, "a": 2}, {"a": [1]}, {"a": 2, "b": 1}]
    assert (np.float32(found[3]), found[4], found[5]) == (np.float32(0.1), "t", b"raw")


OLD = {  # written by Python 2.7.18 with numpy 1.16.6: "wörd" in UTF-8, "caf\xe9" in Latin-1
    0: b"(dp0\nS'text'\np1\n(lp2\nS'w\\xc3\\xb6rd'\np3\naS'caf\\xe9'\np4\nasS'x'\np5\n"
    b"cnumpy.core.multiarray\n_reconstruct\np6\n(cnumpy\nndarray\np7\n(I0\ntp8\nS'b'\np9\n"
    b"tp10\nRp11\n(I1\n(I2\ntp12\ncnumpy\ndtype\np13\n(S'f4'\np14\nI0\nI1\ntp15\nRp16\n"
    b"(I3\nS'<'\np17\nNNNI-1\nI-1\nI0\ntp18\nbI00\nS'\\x00\\x00\\x80?\\xc3\\xb5\\x00@'\np19\n"
    b"tp20\nbs.",
    2: b"\x80\x02}q\x01(U\x04textq\x02]q\x03(U\x05w\xc3\xb6rdq\x04U\x04caf\xe9q\x05eU\x01xq\x06"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\t(K"
    b"\x01K\x02\x85cnumpy\ndtype\nq\nU\x02f4K\x00K\x01\x87Rq\x0b(K\x03U\x01<NNNJ\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\xc3\xb5\x00@tbu.",
}


@pytest.mark.parametrize("protocol", OLD)
def test_each_string_of_python_2_is_decoded_by_itself(protocol: int) -> None:
    """I10: the bytes of an array are never UTF-8, and must not make Latin-1 of all texts."""
    found = plain(OLD[protocol])
    assert found["text"] == ["w\u00f6rd", "caf\u00e9"]
    np.testing.assert_array_equal(found["x"], np.frombuffer(b"\0\0\x80?\xc3\xb5\0@", "<f4"))


class Calling:
    """Pickled as a call, and perhaps a state."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def _frombuffer(*given: Any) -> Any:
    return Calling(np._core.numeric._frombuffer, given)  # type: ignore[attr-defined]


BLANK = np.empty(0, object).__reduce__()[:2]
KIND = np.dtype("O")
EVIL: dict[str, tuple[Any, str]] = {
    "an integer view of an array of pointers": (
        _frombuffer(np.array([1], object), np.dtype("i8"), (1,), "C"),
        "what are no bytes",
    ),
    "a list that is shorter than its shape": (
        Calling(*BLANK, (1, (5,), KIND, False, [1])),
        "1 objects where",
    ),
    "bytes as addresses": (
        Calling(*BLANK, (1, (1,), KIND, False, b"\1" * 8)),
        "bytes where objects should be",
    ),
    "objects out of a buffer": (_frombuffer(b"\1" * 8, KIND, (1,), "C"), "bytes where objects"),
    "an attribute of a dict": (Calling(OrderedDict, (), {"append": exec}), "builtins.exec"),
    "the state of a dict": (Calling(OrderedDict, (), {"append": 1}), "cannot be changed"),
    "the state of a function": (
        b"\x80\x04c_codecs\nencode\nN}X\x01\0\0\0aK\x01s\x86b.",
        "it changes a function",
    ),
    "entries of an array": (
        pickle.dumps(np.arange(3))[:-1] + b"K\0K\1s.",
        "entries into what is no dict",
    ),
    "appending to bytes": (b"\x80\x04C\x01aK\x01a.", "appends to what is no list"),
    "a shape that is none": (_frombuffer(b"", np.dtype("u1"), (-1, 0), "C"), "whose shape is none"),
    "an enormous shape": (_frombuffer(b"a", np.dtype("u1"), (2**62, 4), "C"), "1 bytes where"),
    "an enormous shape of nothing": (_frombuffer(b"", np.dtype("u1"), (2**62, 0), "C"), "an empty"),
    "text that is none": (_frombuffer(b"\xff" * 4, np.dtype("U1"), (1,), "C"), "text that is none"),
    "truth values that are none": (_frombuffer(b"\7", np.dtype("?"), (1,), "C"), "truth values"),
    "records": (np.zeros(2, [("a", "f4"), ("b", "O")]), "it holds an array of V"),
    "times": (np.zeros(2, "M8[s]"), "it holds an array of M8"),
    "a codec": (Calling(__import__("codecs").encode, ("a", "rot13")), "asks for the codec"),
    "buffers in another file": (b"\x80\x05\x97.", "out-of-band"),
    "objects that lie elsewhere": (b"\x80\x02X\x01\0\0\0aQ.", "lie elsewhere"),
    "a class": (b"\x80\x02cbuiltins\nset\n)\x81.", "an object of a class"),
    "a class of protocol 0": (b"(icollections\nOrderedDict\n.", "an object of a class"),
    "a newer protocol": (b"\x80\x09N.", "a protocol after 5"),
    "a class alone": (b"\x80\x02cbuiltins\nset\n.", "the name of a type"),
    "a name with signs for the terminal": (b"c\x1b[31mos\nsystem\n.", r"x1b\[31mos.system"),
}


@pytest.mark.parametrize("name", EVIL)
def test_nothing_a_pickle_says_touches_memory(name: str) -> None:
    """H1: every way that was found to run code, read memory or crash, and their kin."""
    value, fault = EVIL[name]
    data = value if isinstance(value, bytes) else pickle.dumps(value)
    with pytest.raises(PickleRefusedError, match=fault) as found:
        plain(data)
    assert "\x1b" not in str(found.value)


def _nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def _shared(depth: int) -> bytes:
    """[[[…], the same], the same]: small here, 2^depth values for whoever walks through it."""
    return b"\x80\x02]" + b"q\0h\0\x86" * depth + b"."


COLLIDING = [(-1, -2)[k >> b & 1] for k in range(2**12) for b in range(12)]
BOMBS: dict[str, tuple[bytes, str]] = {
    "tuples of one hash": (
        pickle.dumps({tuple(COLLIDING[k : k + 12]): 0 for k in range(0, 12 * 300, 12)}),
        "a tuple as a key",
    ),
    "tuples of one hash in a set": (pickle.dumps({(-1, -2), (-2, -1)}), "a tuple as a key"),
    "a place in the memo": (b"\x80\x02Nr\x00\x65\xcd\x1d.", r"damaged pickle \(IndexError\)"),
    "shared twice, 60 times": (_shared(60), "MB of memory"),
    "nested 100,000 deep": (_nested(100_000), "more than 64 deep"),
    "a list in itself": (b"\x80\x02]q\0h\0a.", "holds itself"),
    "a number of a million digits": (b"I" + b"9" * 10**6 + b"\n.", "damaged|enormous"),
    "a number of a megabyte": (b"\x80\x02\x8b\0\0\x10\0" + b"\1" * 2**20 + b".", "enormous"),
    "a text of 4 GB": (b"\x80\x04X\xff\xff\xff\xff.", r"damaged pickle \(EOFError\)"),
    "bytes of 2^62": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".", "damaged pickle"),
    "a type of a gigabyte a value": (
        pickle.dumps(Calling(np.dtype, ("S1000000000",))),
        "it holds an array of S1000000000",
    ),
    "one text made into bytes 10,000 times": (
        b"\x80\x02c_codecs\nencode\nq\0X\0\0\4\0" + b"a" * 2**18 + b"q\1" + b"h\0h\1\x85R" * 10_000,
        "MB of memory",
    ),
    "dicts by the million": (b"\x80\x02(" + b"}" * 6_000_000 + b"t.", "MB of memory"),
    "sets by the million": (b"\x80\x04(" + b"\x8f" * 2_000_000 + b"t.", "MB of memory"),
    "marks by the million": (b"\x80\x04" + b"(" * 9_000_000, "MB of memory"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_has_a_small_effect(name: str) -> None:
    """H2: hashes that collide, depth, places in the memo, numbers, shapes, sharing."""
    data, fault = BOMBS[name]
    begin = time.perf_counter()
    with pytest.raises(PickleRefusedError, match=fault):
        plain(data)
    assert time.perf_counter() - begin < 30  # minutes before, on a busy machine seconds now


def test_a_bomb_takes_the_memory_it_is_allowed(tmp_path: Path) -> None:
    """H2: measured in a process of its own, whose peak is what the system counted."""
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x02(" + b"}" * 6_000_000 + b"t.")
    code = (
        "import resource, sys; from pathlib import Path;"
        "from sedimental.cache.safe_pickle.load import load_plain as load\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "try: load(Path(sys.argv[1]))\n"
        "except Exception as fault: print(type(fault).__name__, peak() - before)"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code, str(path)], capture_output=True)
    name, peak = ran.stdout.split()
    assert name == b"PickleRefusedError"
    assert int(peak) < 200e6 + 4 * path.stat().st_size


def test_every_cut_and_every_flipped_byte_is_an_answer() -> None:
    """H1: 43 of 9,158 mutations crashed the process; this is the small slice of `make fuzz`."""
    value = {"id": np.array(["a", "b"], object), "x": np.ones((2, 3), "f4"), "n": [1, 2.5, b"c"]}
    random = np.random.default_rng(0)
    for protocol in (0, 2, 4, 5):
        data = pickle.dumps(value, protocol)
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] = random.integers(256)
            for mutated in (bytes(changed), data[:place]):
                with contextlib.suppress(PickleRefusedError):
                    plain(mutated)


def nested(random: np.random.Generator) -> Any:
    """Some 100 kB of small values, so that stretches of the file end within every kind of them."""
    words = ["", "no", "\u00e9", "\u6211\u5f88", "x" * 254, "\u00e9" * 128, "y" * 70_000, "\ud800"]
    return {
        "rows": [[float(x), int(x * 1e5), words[k % 6], None, k % 2 == 0] for k, x in
                 enumerate(random.normal(0, 1, 1_500))],
        "scores": random.normal(0, 1, 9_000).tolist(),
        "few": [0.5] * 4,
        "clips": {f"c{k}": {"at": (k, k + 1, k / 2), "of": b"z" * (k % 300)} for k in range(800)},
        "words": words,
        "numbers": [0, 255, 256, 65_535, 65_536, -1, 2**31, 2**70, True, 1.5],
    }  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_where_a_stretch_of_the_file_ends_changes_nothing(protocol: int) -> None:
    """The same values from wherever the stretches begin, which are of 64 kB."""
    random = np.random.default_rng(0)
    value = nested(random)
    for shift in (0, 1, 7, 4_000):
        data = pickle.dumps(["s" * shift, value], protocol=protocol)
        assert typed(plain(data)[1]) == typed(pickle.loads(data)[1])
    data = pickle.dumps(value, protocol=protocol)
    for end in (10, 65_535, 65_536, 65_537, len(data) - 1):  # cut short
        with pytest.raises(PickleRefusedError, match="damaged"):
            plain(data[:end])


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_large_array_is_in_memory_once(protocol: int) -> None:
    """Protocol 2 writes it as text, which would be kept beside it."""
    array = np.random.default_rng(0).normal(0, 1, (4, 500_000)).astype(np.float32)
    data = pickle.dumps(dict(enumerate(array)), protocol=protocol)
    size = array.nbytes
    tracemalloc.start()
    found = plain(data)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(np.array_equal(found[k], row) for k, row in enumerate(array))
    assert kept < 1.1 * size
    assert peak < 2.2 * size  # a row of four as text, as its bytes, and as it is read


@pytest.mark.parametrize(
    "data", [b"\x80\x02K\x01(0.", b"\x80\x02K\x01K\x020.", b"K\x01(K\x02K\x031."]
)
def test_what_is_taken_off_the_stack_is_gone(data: bytes) -> None:
    assert plain(data) == pickle.loads(data) == 1


def test_long_text_is_text_and_bytes_both() -> None:
    """Kept as bytes until its use tells."""
    for letter in ("a", "\u00e9", "\u6211"):
        text = letter * 70_000
        for protocol in (0, 2, 4):
            assert plain(pickle.dumps([text, {text: 1}], protocol=protocol)) == [text, {text: 1}]
    raw = bytes(range(256)) * 300
    assert plain(pickle.dumps([raw, raw], protocol=2)) == [raw, raw]
    huge = "\u00e9" * (1 << 23) + "\u6211" * 10  # longer than any transcript
    with pytest.raises(PickleRefusedError, match="enormous text"):
        plain(pickle.dumps(huge, protocol=4))
    assert plain(pickle.dumps(huge[:-10] * 2, protocol=4)) == huge[:-10] * 2


def test_the_way_out_of_what_is_not_plain_is_said() -> None:
    """I14: tensors and tables are other people's plain data."""
    import torch

    with pytest.raises(PickleRefusedError, match=r"asks for torch.*`tensor.numpy\(\)`"):
        plain(pickle.dumps({"train": torch.zeros(2)}))
    with pytest.raises(PickleRefusedError, match=r"asks for pandas.*to_dict"):
        plain(b"\x80\x02cpandas.core.frame\nDataFrame\n.")
    with pytest.raises(PickleRefusedError, match=r"asks for numpy.ma.*filled"):
        plain(pickle.dumps(np.ma.masked_array([1])))


def npy(array: Any, **more: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **more)
    return file.getvalue()


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_numpy_files_are_read_bit_by_bit(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", x=array, table=np.array({"a": 1}, object))
    found = load_npz(tmp_path / "a.npz")
    assert found["table"].item() == {"a": 1}
    for one in (load_npy(tmp_path / "a.npy"), found["x"]):
        assert (one.shape, one.dtype) == (array.shape, array.dtype)
        np.testing.assert_equal(one.tolist(), array.tolist())


HEAD = npy(np.zeros(2))[:128]
BAD_NPY = {
    "": "it is empty",
    "PK": "does not begin as a .npy does",
    "cut": "an array .2,. of float64 has 16 bytes, here are 8",
    "long": "here are 17",
    "shape": "here are 16",
    "code": "its head is not",
}


@pytest.mark.parametrize("name", BAD_NPY)
def test_a_npy_that_is_none_is_refused_before_memory_is_taken(tmp_path: Path, name: str) -> None:
    """I8: a 0-byte .npy; H2: shapes that the file cannot hold."""
    whole = npy(np.zeros(2))
    data = {
        "": b"",
        "PK": b"PK\3\4" + bytes(99),
        "cut": whole[:-8],
        "long": whole + b"x",
        "shape": whole.replace(b"(2,)", b"(999999999999,)").replace(b" " * 12 + b"\n", b" \n"),
        "code": whole.replace(b"False", b"exit("),
    }[name]
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(PickleRefusedError, match=BAD_NPY[name]) as found:
        load_npy(tmp_path / "a.npy")
    assert str(found.value).startswith(str(tmp_path / "a.npy"))


def test_an_archive_that_unpacks_to_more_than_it_may_is_refused(tmp_path: Path) -> None:
    """H2: zeros shrink a thousandfold; also one that lies about its sizes."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(4):
            archive.writestr(f"{k}.npy", npy(np.zeros(10**7)))
    with pytest.raises(PickleRefusedError, match="unpacks to 320 MB"):
        load_npz(path)
    np.savez_compressed(path, a=np.zeros(100))
    data = path.read_bytes()
    size = struct.pack("<I", len(npy(np.zeros(100))))
    path.write_bytes(data.replace(size, struct.pack("<I", 10**8)))
    with pytest.raises(PickleRefusedError, match=r"damaged|cut short"):
        load_npz(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(PickleRefusedError, match=r"a damaged \.npz"):
        load_npz(path)


def test_a_pickle_that_is_not_there_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pkl", tmp_path):
        with pytest.raises(PickleRefusedError, match="no such file"):
            load_plain(path)
