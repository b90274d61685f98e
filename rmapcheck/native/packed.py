"""How the bytes of a stored form become bits, in C and back again in Python.

A field takes as many bits as its largest value. What is not there takes one bit, 0, for all of
its bytes. The first bit is the most significant, so that memcmp() orders keys as Python does the
stored forms: the least of an orbit is the same for both.
"""

from collections.abc import Generator

import attrs

from model.layout import FieldInfo, Layout, StructInfo

WORD = 57
"""Bits that can be read from any bit on with one load of eight bytes."""

BITS = """
typedef struct { unsigned char *out; uint64_t word; int room; } Bits;

/* Append a number of `width` bits, at most 57. */
static ALWAYS void put(Bits *b, uint64_t value, int width)
{
  if (width <= b->room) {
    b->room -= width;
    b->word |= value << b->room;
    return;
  }
  int over = width - b->room;
  uint64_t word = __builtin_bswap64(b->word | value >> over);
  memcpy(b->out, &word, 8);
  b->out += 8;
  b->room = 64 - over;
  b->word = value << b->room;
}

static inline int put_end(Bits *b, const unsigned char *start)
{
  uint64_t word = __builtin_bswap64(b->word);
  memcpy(b->out, &word, 8);
  return b->out - start + (64 - b->room + 7) / 8;
}

static inline uint64_t get(const unsigned char *b, uint64_t *at, int width)
{
  uint64_t word;
  memcpy(&word, b + (*at >> 3), 8);
  word = __builtin_bswap64(word) << (*at & 7);
  *at += width;
  return word >> (64 - width);
}

static inline uint64_t fits(S *st, int value, int high)
{
  if (__builtin_expect((unsigned)value > (unsigned)high, 0)) stop(st, MODEL_FIELD, 0, value);
  return value;
}
"""


def width(field: FieldInfo) -> int:
    """Return how many bits a field takes."""
    return min(field.high, 255).bit_length()


def count_width(struct: StructInfo) -> int:
    """Return how many bits the number of objects of a pool takes; a pool may have no room."""
    return max(1, struct.size.bit_length())


def words(struct: StructInfo, *, flag: bool) -> list[list[FieldInfo]]:
    """Return the fields of a struct in groups that fit into a word, the first with the flag."""
    out: list[list[FieldInfo]] = [[]]
    used = int(flag)
    for field in struct.fields:
        if used + width(field) > WORD:
            out.append([])
            used = 0
        out[-1].append(field)
        used += width(field)
    return out


def load_fields(struct: StructInfo, indent: str, *, flag: bool = False) -> list[str]:
    """Return the statements that read an object `o` at bit `at` of `b`, without its flag."""
    lines = []
    for group in words(struct, flag=flag):
        total = sum(map(width, group))
        if total:
            lines.append(f"{indent}{{ uint64_t w = get(b, &at, {total});")
            left = total
            for field in group:
                left -= width(field)
                mask = (1 << width(field)) - 1
                lines.append(f"{indent}o->{field.name} = w >> {left} & {mask};")
            lines.append(f"{indent}}}")
        lines += [f"{indent}o->{f.name} = 0;" for f in group if not width(f)]
    return lines


@attrs.frozen
class Packing:
    """Packs and unpacks the renamed form of a layout, or the raw one."""

    layout: Layout
    renamed: bool

    def pack(self, data: bytes) -> bytes:
        """Return a stored form of model/layout.py as the search in C has it."""
        steps = self._steps()
        value = count = 0
        bits = next(steps)
        for number in data:
            value = value << bits | number
            count += bits
            bits = steps.send(number)
        return (value << -count % 8).to_bytes((count + 7) // 8, "big")

    def unpack(self, data: bytes) -> bytes:
        """Return the opposite of `pack`."""
        value, left, out = int.from_bytes(data, "big"), 8 * len(data), bytearray()
        steps = self._steps()
        bits = next(steps)
        while bits >= 0:
            left -= bits
            out.append(value >> left & ((1 << bits) - 1))
            bits = steps.send(out[-1])
        return bytes(out)

    def _steps(self) -> Generator[int, int, None]:
        """Yield how many bits each byte becomes, being sent the byte; -1 behind the last."""
        structs = self.layout.structs
        if self.renamed:
            per_process = self.layout.scope.pages * list(structs["pte"].fields)
            for _ in range(self.layout.scope.mms):
                yield from _present([*structs["mm"].fields, *per_process])
            if "address_space" in structs:
                files = structs["address_space"]
                yield from _each(files.size * list(files.fields))
            for name in self.layout.heap:
                yield from self._pool(structs[name])
        else:
            for struct in structs.values():
                for _ in range(struct.size):
                    yield from _present(list(struct.fields))
        yield -1

    def _pool(self, struct: StructInfo) -> Generator[int, int, None]:
        if struct.name in self.layout.named:
            for _ in range(struct.size):
                yield from _present(list(struct.fields))
        else:
            count = yield count_width(struct)
            yield from _each(count * list(struct.fields))


def _each(fields: list[FieldInfo]) -> Generator[int, int, None]:
    for field in fields:
        yield width(field)


def _present(fields: list[FieldInfo]) -> Generator[int, int, None]:
    """A flag, and behind it the fields of what is there."""
    there = yield 1
    for field in fields:
        yield width(field) if there else 0
