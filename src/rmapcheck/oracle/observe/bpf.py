"""Reads kernel memory with a BPF program of a few instructions.

The program is written by hand, so that neither clang nor a library is needed. For each address
that it gets, it calls bpf_probe_read_kernel() to copy one block into a map, and we mmap the map.
BPF_PROG_TEST_RUN runs it; it is attached to nothing. A second program returns the address of our
own task_struct.
"""

import ctypes
import mmap
import os
import platform
import struct
from contextlib import ExitStack

from rmapcheck.host.errors import Unavailable
from rmapcheck.host.libc import checked, libc

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
MAP_CREATE, PROG_LOAD, PROG_TEST_RUN = 0, 5, 10
ARRAY, MMAPABLE = 2, 1 << 10
RAW_TRACEPOINT = 17
PROBE_READ_KERNEL, GET_CURRENT_TASK = 113, 35
LICENSE = b"Dual MIT/GPL"

BLOCK = 256
"""Bytes that are read at each address."""
BATCH = 12
"""Addresses that one run reads: as many as a raw tracepoint has arguments."""


def _insn(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, offset, value)


def _map_value(register: int, fd: int, offset: int) -> bytes:
    """Return code for `register = address of the map's value + offset` (BPF_PSEUDO_MAP_VALUE)."""
    return _insn(0x18, register, 2, 0, fd) + _insn(0, 0, 0, 0, offset)


def peek_program(fd: int) -> bytes:
    """Return the program that reads BATCH blocks."""
    code = _insn(0xBF, 6, 1)  # r6 = context
    for i in range(BATCH):
        code += _map_value(1, fd, i * BLOCK)
        code += _insn(0xB7, 2, value=BLOCK)  # r2 = BLOCK
        code += _insn(0x79, 3, 6, 8 * i)  # r3 = argument i
        code += _insn(0x85, value=PROBE_READ_KERNEL)
    return code + _insn(0xB7, 0) + _insn(0x95)


def task_program(fd: int) -> bytes:
    """Return the program that stores the address of the current task_struct."""
    code = _insn(0x85, value=GET_CURRENT_TASK)
    code += _map_value(1, fd, 0) + _insn(0x7B, 1, 0)
    return code + _insn(0xB7, 0) + _insn(0x95)


class Peek:
    """Reads kernel memory. Raises Unavailable if BPF is not allowed to."""

    def __init__(self, stack: ExitStack) -> None:
        self.number = SYS_BPF.get(platform.machine(), 0)
        if not self.number:
            raise Unavailable(f"the BPF system call of {platform.machine()} is not known here")
        try:
            self._set_up(stack)
        except OSError as error:
            raise Unavailable(f"BPF is not allowed to read here ({error.strerror})") from None

    def _set_up(self, stack: ExitStack) -> None:
        size = BATCH * BLOCK
        self.map = self._bpf(MAP_CREATE, struct.pack("=IIIII", ARRAY, 4, size, 1, MMAPABLE))
        stack.callback(os.close, self.map)
        self.memory = mmap.mmap(self.map, size, mmap.MAP_SHARED, mmap.PROT_READ)
        stack.callback(self.memory.close)
        self.peeking = self._load(peek_program(self.map))
        stack.callback(os.close, self.peeking)
        self.asking = self._load(task_program(self.map))
        stack.callback(os.close, self.asking)
        self.arguments = ctypes.create_string_buffer(8 * BATCH)
        self.run_peek = self._test_run(self.peeking)
        self.run_ask = self._test_run(self.asking)

    def _bpf(self, command: int, attributes: bytes) -> int:
        buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
        result = libc().syscall(self.number, command, buffer, 128)
        return checked(result, "bpf")

    def _load(self, code: bytes) -> int:
        self.kept = (ctypes.create_string_buffer(code), ctypes.create_string_buffer(LICENSE))
        instructions, text = (ctypes.addressof(part) for part in self.kept)
        head = struct.pack("=IIQQ", RAW_TRACEPOINT, len(code) // 8, instructions, text)
        return self._bpf(PROG_LOAD, head)

    def _test_run(self, program: int) -> "ctypes.Array[ctypes.c_char]":
        """Return the attributes of a run of `program` with our arguments."""
        address = ctypes.addressof(self.arguments)
        head = struct.pack("=IIIIQQIIIIQQ", program, 0, 0, 0, 0, 0, 0, 0, 8 * BATCH, 0, address, 0)
        return ctypes.create_string_buffer(head.ljust(128, b"\0"), 128)

    def own_task(self) -> int:
        """Return the address of our own task_struct (this thread's)."""
        checked(libc().syscall(self.number, PROG_TEST_RUN, self.run_ask, 128), "bpf")
        return int(struct.unpack_from("=Q", self.memory)[0])

    def read(self, addresses: list[int]) -> list[bytes]:
        """Return a block of BLOCK bytes from each address; zeros if it cannot be read."""
        found: list[bytes] = []
        call = libc().syscall
        for first in range(0, len(addresses), BATCH):
            part = addresses[first : first + BATCH]
            struct.pack_into(f"={BATCH}Q", self.arguments, 0, *part, *[0] * (BATCH - len(part)))
            checked(call(self.number, PROG_TEST_RUN, self.run_peek, 128), "bpf")
            data = self.memory[: len(part) * BLOCK]
            found += [data[i : i + BLOCK] for i in range(0, len(data), BLOCK)]
        return found
