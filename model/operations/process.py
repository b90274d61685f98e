"""Operations of processes: read, write, fork, exec, exit."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import attrs

from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import PTE_WRITE, PTE_ZERO, VM_ACCESS_FLAGS, VM_WRITE
from rmapcheck.model.mm.exec import sys_execve
from rmapcheck.model.mm.fault import faults_beyond, handle_mm_fault
from rmapcheck.model.mm.fork import sys_fork
from rmapcheck.model.mm.unmap import mmput
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.operations.base import Operation
from rmapcheck.model.operations.syscall import Argument, Syscall

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.scheme import Scheme


@attrs.frozen(kw_only=True)
class Read(Operation):
    """A read from page `address`: maps the zero page, or brings a page back from swap."""

    name = "read"
    group = "fault"
    syscall = Syscall(program="READ", puppet="READ", arguments=(Argument("address", "start"),))
    parts = ("read",)
    address: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for address in range(st.pages):
                p = st.pte[pte_offset(st, mm, address)]
                vma = vma_lookup(st, mm, address)
                if (
                    vma
                    and st.vma[vma].vm_flags & VM_ACCESS_FLAGS
                    and (p.swap or not (p.folio or p.flags & PTE_ZERO))
                    and not faults_beyond(st, vma, address, pte_offset(st, mm, address))
                ):
                    yield cls(mm=mm, address=address)

    def apply(self, st: "Kernel") -> int:
        return handle_mm_fault(st, self.mm, self.address, write=False)


@attrs.frozen(kw_only=True)
class Write(Operation):
    """A write to page `address`: first write, copy on write or reuse, swap-in."""

    name = "write"
    group = "fault"
    syscall = Syscall(program="WRITE", puppet="WRITE", arguments=(Argument("address", "start"),))
    parts = ("write",)
    address: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for address in range(st.pages):
                p = st.pte[pte_offset(st, mm, address)]
                vma = vma_lookup(st, mm, address)
                if (
                    vma
                    and st.vma[vma].vm_flags & VM_WRITE
                    and not p.flags & PTE_WRITE
                    and not faults_beyond(st, vma, address, pte_offset(st, mm, address))
                ):
                    yield cls(mm=mm, address=address)

    def apply(self, st: "Kernel") -> int:
        return handle_mm_fault(st, self.mm, self.address, write=True)


@attrs.frozen(kw_only=True)
class Fork(Operation):
    """fork: process `child` becomes a copy of `mm`."""

    name = "fork"
    group = "fork"
    syscall = Syscall(program="FORK", puppet="FORK", arguments=(Argument("child"),))
    atomic = True
    child: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for child in range(1, st.mm.size + 1):
                if not st.mm.is_live(child):
                    yield cls(mm=mm, child=child)
                    if not st.every_name:
                        break

    def enabled(self, st: "Kernel") -> bool:
        return st.mm.is_live(self.mm) and not st.mm.is_live(self.child)

    def apply(self, st: "Kernel") -> int:
        return sys_fork(st, self.mm, self.child)


@attrs.frozen(kw_only=True)
class Exec(Operation):
    """execve: a new image with a one-page stack, which is moved down by `shift` pages."""

    name = "exec"
    group = "exec"
    syscall = Syscall(
        why_not="the kernel chooses the stack's address in execve, so no program can set this one"
    )
    shift: int = 0

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for shift in range(min(st.pages, 2)):
                op = cls(mm=mm, shift=shift)
                if not op.lacking(st.scheme):
                    yield op

    def apply(self, st: "Kernel") -> int:
        return sys_execve(st, self.mm, self.shift)

    def lacking(self, scheme: "Scheme") -> str:
        if self.shift and "exec_shift" in scheme.era.lacks:
            return "a stack that is moved at exec (v2.6.23)"
        return ""


@attrs.frozen(kw_only=True)
class Exit(Operation):
    """exit of a process that is not the last one."""

    name = "exit"
    group = "exit"
    syscall = Syscall(program="EXIT", puppet="EXIT")

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        if st.mm.live > 1:
            for mm in st.mm.indices():
                yield cls(mm=mm)

    def enabled(self, st: "Kernel") -> bool:
        return st.mm.is_live(self.mm) and st.mm.live > 1

    def apply(self, st: "Kernel") -> int:
        mmput(st, self.mm)
        return 0
