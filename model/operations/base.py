"""The base class of operations, and the values of their arguments in case files."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from rmapcheck.model.machine.structs import VM_DONTCOPY, VM_WIPEONFORK
from rmapcheck.model.mm.vma import find_vma, vma_lookup
from rmapcheck.model.operations.syscall import Syscall

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.scheme import Scheme


PROT = {
    "rw": ("PROT_READ | PROT_WRITE", 3),
    "r": ("PROT_READ", 1),
    "none": ("PROT_NONE", 0),
    "rwx": ("PROT_READ | PROT_WRITE | PROT_EXEC", 7),
}
"""Protections by their name in case files. A scope uses the first `protections` of them."""
PROTECTIONS = {name: number for name, (_, number) in PROT.items()}
PROTECTION_NAMES = tuple(PROT)


@attrs.frozen
class Advice:
    """One kind of advice to madvise()."""

    word: str
    number: int
    """asm-generic/mman-common.h"""
    sets: int = 0
    """Flags that it sets in the VMAs."""
    clears: int = 0


ADVICE = {
    "dontneed": Advice("MADV_DONTNEED", 4),
    "dontfork": Advice("MADV_DONTFORK", 10, sets=VM_DONTCOPY),
    "dofork": Advice("MADV_DOFORK", 11, clears=VM_DONTCOPY),
    "wipeonfork": Advice("MADV_WIPEONFORK", 18, sets=VM_WIPEONFORK),
    "keeponfork": Advice("MADV_KEEPONFORK", 19, clears=VM_WIPEONFORK),
}
"""Advice by its name in case files."""
ADVICE_NAMES = tuple(ADVICE)
ADVICE_FLAGS = {name: (advice.sets, advice.clears) for name, advice in ADVICE.items()}


@attrs.frozen(kw_only=True)
class Operation:
    """Base of all operations."""

    name: ClassVar[str] = ""
    group: ClassVar[str] = ""
    needs: ClassVar[str] = ""
    """An attribute of the Scope that must not be 0; otherwise the operation does not exist."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Words that `Scope.ops` may have instead of the group's name. Some of them offer only part of
    the operation's uses."""
    syscall: ClassVar[Syscall] = Syscall()
    """How a program requests the operation from a running kernel."""
    atomic: ClassVar[bool] = False
    """If the operation fails, every page and VMA is as it was."""

    mm: int
    """The process that acts, from 1."""
    fail: int = 0
    """Which of the operation's allocations fails, from 1; 0: none."""

    @classmethod
    def exists(cls, scope: "Scope") -> bool:
        """Return whether the machine of `scope` has such operations."""
        named = cls.group in scope.ops or any(part in scope.ops for part in cls.parts)
        return named and (not cls.needs or bool(getattr(scope, cls.needs)))

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        """Yield each operation of this class that has an effect in `st`, in a fixed order."""
        raise NotImplementedError

    def enabled(self, st: "Kernel") -> bool:
        """Return whether the operation may run in `st` (it may still return an error)."""
        return st.mm.is_live(self.mm)

    def apply(self, st: "Kernel") -> int:
        """Carry out the operation; return what the system call returns: 0 or -errno."""
        raise NotImplementedError

    def beyond(self, scope: "Scope") -> str:
        """Return why the operation does not fit into `scope`, or ""."""
        return _beyond(self, scope)

    def lacking(self, scheme: "Scheme") -> str:
        """Return the feature of the operation that the scheme's kernels did not have, or ""."""
        return ""

    def __str__(self) -> str:
        shown = [
            f"{a.name}={getattr(self, a.name)!r}"
            for a in sorted(attrs.fields(type(self)), key=lambda a: a.name == "fail")
            if a.default is attrs.NOTHING or getattr(self, a.name) != a.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@attrs.frozen(kw_only=True)
class FileOperation(Operation):
    """Base of the operations on a file that are independent of processes."""

    needs = "files"

    mm: int = 0
    """No process."""
    file: int
    """The file, from 1."""

    def enabled(self, st: "Kernel") -> bool:
        return True


def known_protection(_instance: object, _attribute: object, value: str) -> None:
    """Raise ValueError if there is no such protection."""
    if value not in PROTECTIONS:
        raise ValueError(f"prot must be one of {', '.join(PROTECTIONS)}, not {value!r}")


def _beyond(op: Operation, scope: "Scope") -> str:
    values = attrs.asdict(op)
    if op.needs and not getattr(scope, op.needs):
        return f"{op.needs} must not be 0 for {op.name}"
    limits = {"mm": scope.mms, "child": scope.mms, "file": scope.files}
    for name, last in limits.items():
        named = name in values and not (name == "mm" and isinstance(op, FileOperation))
        if named and not 1 <= values[name] <= last:
            return f"{name} must be from 1 to {last}, not {values[name]}"
    if not 0 <= values.get("index", 0) < max(scope.file_pages, 1):
        return f"index must be from 0 to {scope.file_pages - 1}, not {values['index']}"
    if isinstance(op, FileOperation):
        return "" if values["fail"] >= 0 else f"fail must be 0 or more, not {values['fail']}"
    start = values.get("start", values.get("address", 0))
    if not 0 <= start < scope.pages:
        return f"page {start} is outside 0 … {scope.pages - 1}"
    lengths = [(start, "length"), (start, "new_length")]
    if values.get("to", -1) != -1:
        lengths[1] = (values["to"], "new_length")
        if not 0 <= values["to"] < scope.pages:
            return f"page {values['to']} is outside 0 … {scope.pages - 1}"
    for first, name in lengths:
        if name in values and not 1 <= values[name] <= scope.pages - first:
            return f"{name} must be from 1 to {scope.pages - first}, not {values[name]}"
    if values["fail"] < 0:
        return f"fail must be 0 or more, not {values['fail']}"
    if not 0 <= values.get("shift", 0) < scope.pages:
        return f"shift must be from 0 to {scope.pages - 1}, not {values['shift']}"
    return ""


def covered(st: "Kernel", mm: int, start: int, length: int) -> bool:
    """Return whether the first and the last page of a range are in VMAs."""
    return vma_lookup(st, mm, start) != 0 and vma_lookup(st, mm, start + length - 1) != 0


def free(st: "Kernel", mm: int, start: int, length: int) -> bool:
    """Return whether no page of a range is in a VMA."""
    vma = find_vma(st, mm, start)
    return vma == 0 or st.vma[vma].vm_start >= start + length
