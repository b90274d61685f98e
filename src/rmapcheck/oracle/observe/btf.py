"""Reads the offsets of fields of kernel structs from BTF, /sys/kernel/btf/vmlinux.

Source: Documentation/bpf/btf.rst. Only what is needed for this is read: structs, unions, and the
names of their members, including the members of anonymous members.
"""

import struct
from pathlib import Path

import attrs

from rmapcheck.host.errors import Unavailable

VMLINUX = Path("/sys/kernel/btf/vmlinux")
MAGIC = 0xEB9F
STRUCT, UNION = 4, 5
MODIFIERS = (8, 9, 10, 11, 18)
"""typedef, volatile, const, restrict, type tag."""
EXTRA = {1: (4, 0), 3: (12, 0), 6: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12), 17: (4, 0)} | {
    STRUCT: (0, 12),
    UNION: (0, 12),
    19: (0, 12),
}
"""Kind of a type → bytes that follow it: a fixed number, and a number for each member."""


@attrs.frozen
class _Type:
    kind: int
    flag: bool
    members: int
    at: int
    """Offset of its first member in the data."""
    target: int
    """Number of the type that it modifies."""


class Btf:
    """The types of the running kernel. Raises Unavailable if the kernel has no BTF."""

    def __init__(self, path: Path = VMLINUX) -> None:
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise Unavailable(f"{path} cannot be read ({error.strerror}): no BTF") from None
        magic, _, _, size, types, length, strings, _ = struct.unpack_from("=HBBIIIII", self.data)
        if magic != MAGIC:
            raise Unavailable(f"{path} is not BTF")
        self.strings = size + strings
        self.types: list[_Type] = [_Type(0, False, 0, 0, 0)]
        self.structs: dict[str, int] = {}
        self._read(size + types, size + types + length)

    def _read(self, at: int, end: int) -> None:
        unpack = struct.Struct("=III").unpack_from
        while at < end:
            name, info, target = unpack(self.data, at)
            at += 12
            kind, members = info >> 24 & 0x1F, info & 0xFFFF
            once, each = EXTRA.get(kind, (0, 0))
            if kind == STRUCT and name:
                self.structs.setdefault(self._string(name), len(self.types))
            self.types.append(_Type(kind, bool(info >> 31), members, at, target))
            at += once + each * members

    def _string(self, offset: int) -> str:
        start = self.strings + offset
        return self.data[start : self.data.index(b"\0", start)].decode()

    def _member(self, at: int) -> tuple[int, int, int]:
        """Return the name, type and offset of the member described at offset `at`."""
        name, target, offset = struct.unpack_from("=III", self.data, at)
        return name, target, offset

    def offset(self, name: str, field: str) -> int:
        """Return the offset in bytes of a field; Unavailable if the struct has no such field."""
        found = self._offset(self.structs.get(name, 0), field)
        if found is None:
            raise Unavailable(f"struct {name} of this kernel has no field {field}")
        return found

    def _offset(self, number: int, field: str) -> int | None:
        """Return the offset in bytes of `field` in a type; anonymous members are searched too."""
        kind = self.types[number]
        while kind.kind in MODIFIERS:
            kind = self.types[kind.target]
        if kind.kind not in (STRUCT, UNION):
            return None
        for i in range(kind.members):
            name, target, offset = self._member(kind.at + 12 * i)
            bits = offset & 0xFFFFFF if kind.flag else offset
            if name and self._string(name) == field:
                return bits // 8
            if not name and (inner := self._offset(target, field)) is not None:
                return bits // 8 + inner
        return None
