"""One mutated copy of some bytes: what disks, networks, other tools and attackers do to files."""

import io
import pickletools
import random
import zipfile
from collections.abc import Callable, Sequence

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62)
WORDS: tuple[bytes, ...] = (
    b"nan",
    b"-inf",
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"\0",
    b"\xff",
    b"'",
    b'"',
    b",",
)
WORDS += (b"\xed\xa0\x80", b"\\ud800", b"[" * 500, b"../../x", b"/x", b"\x1b[31m", b"$", b"", b"{}")
LONGEST = 1 << 20

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutated(data: bytes, by: random.Random, words: Sequence[bytes]) -> bytes:
    """`data` with one to four changes; archives and pickles also inside, as what they are."""
    if data.startswith(b"PK\3\4") and by.random() < 0.7:
        return _in_archive(data, by, words)
    if data.startswith(b"\x80") and by.random() < 0.5:
        data = _operations(data, by)
    changed = bytearray(data)
    for _ in range(by.choice((1, 1, 2, 4))):
        by.choice(_MUTATIONS)(changed, by, words)
    return bytes(changed[:LONGEST])


def _bit(data: bytearray, by: random.Random, words: Sequence[bytes]) -> None:
    if data:
        data[by.randrange(len(data))] ^= 1 << by.randrange(8)


def _byte(data: bytearray, by: random.Random, words: Sequence[bytes]) -> None:
    if data:
        data[by.randrange(len(data))] = by.randrange(256)


def _number(data: bytearray, by: random.Random, words: Sequence[bytes]) -> None:
    width, place = by.choice((1, 2, 4, 8)), by.randrange(len(data) + 1)
    value = by.choice(INTERESTING) % (1 << 8 * width)
    data[place : place + width] = value.to_bytes(width, by.choice(("little", "big")))


def _cut(data: bytearray, by: random.Random, words: Sequence[bytes]) -> None:
    del data[by.randrange(len(data) + 1) :]


def _piece(data: bytearray, by: random.Random, words: Sequence[bytes]) -> None:
    """Take a piece out, or put it elsewhere, perhaps many times."""
    if not data:
        return
    start = by.randrange(len(data))
    piece = bytes(data[start : start + by.choice((1, 2, 4, 16, 64, 512))])
    if by.random() < 0.4:
        del data[start : start + len(piece)]
    else:
        place = by.randrange(len(data) + 1)
        data[place:place] = piece * by.choice((1, 1, 2, 100))


def _word(data: bytearray, by: random.Random, words: Sequence[bytes]) -> None:
    """A word of the format, or of any, in the place of some bytes."""
    place = by.randrange(len(data) + 1)
    data[place : place + by.choice((0, 1, 4, 8))] = by.choice((*WORDS, *words))


_MUTATIONS: tuple[Mutation, ...] = (_bit, _byte, _number, _cut, _piece, _word, _word)


def _operations(data: bytes, by: random.Random) -> bytes:
    """A pickle with some of its operations left out, doubled, swapped or made up."""
    try:
        places = [place for _, _, place in pickletools.genops(data)]
    except Exception:  # a seed that was broken before
        return data
    found = [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
    for _ in range(by.choice((1, 2, 5))):
        a, b = by.randrange(len(found)), by.randrange(len(found))
        match by.randrange(4):
            case 0 if len(found) > 1:
                del found[a]
            case 1:
                found.insert(a, found[b])
            case 2:
                found[a], found[b] = found[b], found[a]
            case _:
                found.insert(a, by.choice(pickletools.opcodes).code.encode("latin-1"))
    return b"".join(found)


def _in_archive(data: bytes, by: random.Random, words: Sequence[bytes]) -> bytes:
    """A zip with one member mutated, and its sums right again."""
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            names = old.namelist()
            chosen = by.choice(names)
            for name in names:
                own = old.read(name)
                if name == chosen:
                    head = 128 if own.startswith(b"\x93NUMPY") and by.random() < 0.7 else 0
                    own = own[:head] + mutated(own[head:], by, words)
                new.writestr(name, own)
    except (zipfile.BadZipFile, OSError, ValueError, IndexError):
        return data[: by.randrange(len(data))]
    return out.getvalue()
