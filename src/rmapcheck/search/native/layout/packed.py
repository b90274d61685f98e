"""How the bytes of a stored form are packed into bits by C, and unpacked by Python.

A field takes as many bits as its largest value needs. Fields are combined in words of 64 bits, of
which only the used bytes are stored. An object that needs more than one word has several::

     63 62       57 56    52                                              0
    +--+-----------+--------+------------+-- - - --+----------------------+
    | 1| vm_start  | vm_end |  vm_flags  |         |  0 (not stored)      |
    +--+-----------+--------+------------+-- - - --+----------------------+
    |<- byte 0 ->|<- byte 1 ->|<- byte 2 …   as many bytes as have a bit of a field

The first bit exists only for an object that may be missing (a process, an object of a named pool).
A missing object is stored as a single byte, 0. Objects begin at whole bytes, so that C stores each
word with one shift and one store. The first bit is the most significant one, so that memcmp()
orders keys in the same way as Python orders the stored forms: both find the same smallest one.
"""

from collections.abc import Generator, Iterable

import attrs

from rmapcheck.model.machine.fields import FieldInfo, StructInfo
from rmapcheck.model.machine.layout import Layout

WORD = 64
"""Bits that are read and written at once."""
ALIGN = -2
"""In the steps of `Packing`: continue at the next whole byte."""
END = -1

BYTES = """
/* Store the bits of a word, of which `bytes` are not 0; they come first. */
static ALWAYS void put(unsigned char *to, uint64_t word, int bytes)
{
  word = __builtin_bswap64(word);
  memcpy(to, &word, bytes);
}

static ALWAYS uint64_t get(const unsigned char *from)
{
  uint64_t word;
  memcpy(&word, from, 8);
  return __builtin_bswap64(word);
}

static ALWAYS uint64_t fits(S *st, int value, int high)
{
  if (__builtin_expect((unsigned)value > (unsigned)high, 0)) stop(st, MODEL_FIELD, 0, value);
  return value;
}
"""

Place = tuple[str, FieldInfo]
"""The C expression of a pointer to an object, and a field of it."""


def width(field: FieldInfo) -> int:
    """Return how many bits a field takes."""
    return min(field.high, 255).bit_length()


@attrs.frozen
class Word:
    """Fields that are stored together, after a bit 1 if `flag` is set."""

    places: tuple[Place, ...]
    flag: bool

    @property
    def bits(self) -> int:
        """How many bits are used."""
        return self.flag + sum(width(field) for _, field in self.places)

    @property
    def bytes(self) -> int:
        """How many bytes these bits take."""
        return (self.bits + 7) // 8

    def shifts(self) -> Iterable[tuple[Place, int]]:
        """Yield each field with the number of bits, of 64, to the right of it."""
        left = WORD - self.flag
        for place in self.places:
            left -= width(place[1])
            yield place, left


def words(places: Iterable[Place], *, flag: bool) -> list[Word]:
    """Return the fields in words; the first word has the flag."""
    out = [Word((), flag)]
    for place in places:
        longer = Word((*out[-1].places, place), out[-1].flag)
        if longer.bits > WORD:
            out.append(Word((place,), flag=False))
        else:
            out[-1] = longer
    return [word for word in out if word.flag or word.places]


def object_words(struct: StructInfo, *, flag: bool) -> list[Word]:
    """Return the words of an object `o`."""
    return words((("o", field) for field in struct.fields), flag=flag)


def process_words(layout: Layout) -> list[Word]:
    """Return the words of a process `o` and its entries `ptes`."""
    places = [("o", field) for field in layout.structs["mm"].fields]
    for i in range(layout.scope.pages):
        places += [(f"(&ptes[{i}])", field) for field in layout.structs["pte"].fields]
    return words(places, flag=True)


def load_words(parts: list[Word], indent: str) -> list[str]:
    """Return the statements that read words at `b`, and move `b` to the byte after them."""
    lines = []
    for word in parts:
        lines.append(f"{indent}{{ uint64_t w = get(b); b += {word.bytes}; (void)w;")
        for (o, field), left in word.shifts():
            value = f"w >> {left} & {(1 << width(field)) - 1}" if width(field) else "0"
            lines.append(f"{indent}{o}->{field.name} = {value};")
        lines.append(f"{indent}}}")
    return lines


@attrs.frozen
class Packing:
    """Packs and unpacks the renamed form or the raw form of a layout, in Python."""

    layout: Layout
    renamed: bool

    def pack(self, data: bytes) -> bytes:
        """Return a stored form of model/machine/layout.py in the format of the search in C."""
        steps = self._steps()
        value = count = 0
        bits = next(steps)
        for number in data:
            value = value << bits | number
            count += bits
            bits = steps.send(number)
            while bits == ALIGN:
                value <<= -count % 8
                count += -count % 8
                bits = steps.send(0)
        return value.to_bytes(count // 8, "big")

    def unpack(self, data: bytes) -> bytes:
        """Return the stored form of model/machine/layout.py; the opposite of `pack`."""
        value, left, out = int.from_bytes(data, "big"), 8 * len(data), bytearray()
        steps = self._steps()
        bits = next(steps)
        while bits != END:
            if bits == ALIGN:
                left -= left % 8
                bits = steps.send(0)
                continue
            left -= bits
            out.append(value >> left & ((1 << bits) - 1))
            bits = steps.send(out[-1])
        return bytes(out)

    def _steps(self) -> Generator[int, int, None]:
        """Yield the number of bits of each byte, which is then sent; also ALIGN, and END last."""
        structs = self.layout.structs
        if self.renamed:
            process = process_words(self.layout)
            for _ in range(self.layout.scope.mms):
                yield from _present(process)
            if "address_space" in structs:
                files = structs["address_space"]
                yield from _each(files.size, object_words(files, flag=False))
            for name in self.layout.heap:
                yield from self._pool(structs[name])
        else:
            for struct in structs.values():
                parts = object_words(struct, flag=True)
                for _ in range(struct.size):
                    yield from _present(parts)
        yield END

    def _pool(self, struct: StructInfo) -> Generator[int, int, None]:
        if struct.name in self.layout.named:
            parts = object_words(struct, flag=True)
            for _ in range(struct.size):
                yield from _present(parts)
        else:
            count = yield 8 if struct.size else 0
            yield from _each(count, object_words(struct, flag=False))


def _each(count: int, parts: list[Word]) -> Generator[int, int, None]:
    for _ in range(count):
        for word in parts:
            yield from (width(field) for _, field in word.places)
            yield ALIGN


def _present(parts: list[Word]) -> Generator[int, int, None]:
    """Yield the steps of a flag and, if it is set, of the fields of the object."""
    there = yield 1
    for word in parts:
        yield from (width(field) if there else 0 for _, field in word.places)
        yield ALIGN
