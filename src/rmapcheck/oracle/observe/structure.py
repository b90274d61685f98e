"""Reads the anon_vma graph of the puppets from kernel memory, and compares it with the model's.

This happens only on request. Only pointers that start at our own task are followed: its children
down to each puppet, their VMAs in the arena, the chains of these, and the anon_vmas in the chains.

    task_struct ─ mm ─ mm_mt (maple tree) ─ VMA ─ anon_vma_chain list ─ AVC ─ anon_vma
"""

import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs

from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.model.maps import vmas_of
from rmapcheck.oracle.comparison import Difference
from rmapcheck.oracle.observe.bpf import BLOCK, Peek
from rmapcheck.oracle.observe.btf import Btf
from rmapcheck.oracle.puppets.processes import ARENA, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmapcheck.model.kernel import Kernel
    from rmapcheck.oracle.puppets.processes import Puppets

FIELDS = {
    "task_struct": ("pid", "mm", "children", "sibling"),
    "mm_struct": ("mm_mt",),
    "maple_tree": ("ma_root",),
    "vm_area_struct": (
        "vm_start",
        "vm_end",
        "vm_pgoff",
        "vm_file",
        "anon_vma",
        "anon_vma_chain",
    ),
    "anon_vma_chain": ("vma", "anon_vma", "same_vma"),
    "anon_vma": ("root", "parent", "refcount", "num_children", "num_active_vmas"),
}
LIMIT = 10_000
"""After so many steps a list or a tree counts as endless."""
LEAF_64, RANGE_64, ARANGE_64 = 1, 2, 3
"""enum maple_type, linux/maple_tree.h."""
_NODE = {LEAF_64: (15, 16), RANGE_64: (15, 16), ARANGE_64: (9, 10)}
"""Numbers of pivots and slots of a node; they follow its parent pointer."""


@attrs.frozen
class KernelVma:
    """One VMA: first page and page after the last in the arena; addresses of kernel objects."""

    start: int
    end: int
    pgoff: int
    anon_vma: int
    chain: tuple[int, ...]
    """The anon_vma of each AVC, from the head of the list."""


@attrs.frozen
class KernelAnonVma:
    """One anon_vma; `root` and `parent` are addresses."""

    root: int
    parent: int
    refcount: int
    num_children: int
    num_active_vmas: int


class Structure:
    """Reads the graph. Raises Unavailable if BPF or BTF cannot be used."""

    def __init__(self, stack: ExitStack, puppets: "Puppets") -> None:
        btf = Btf()
        self.at = {(s, f): btf.offset(s, f) for s, fields in FIELDS.items() for f in fields}
        if max(v for (s, _), v in self.at.items() if s != "task_struct" and s != "mm_struct") > (
            BLOCK - 16
        ):
            raise Unavailable("the structs of this kernel are larger than the block that is read")
        self.peek = Peek(stack)
        self.puppets = puppets
        self.end = ARENA + puppets.pages * PAGE
        self.mms: dict[int, int] = {}
        """Process id → address of its mm_struct."""
        self.tasks: dict[int, int] = {}
        if not self._find(self.peek.own_task(), puppets.nursery.pid):
            raise Unavailable("the puppets are in a PID namespace: their ids are not the kernel's")

    def word(self, address: int) -> int:
        """Return the 64-bit word at `address`."""
        return int(struct.unpack_from("=Q", self.peek.read([address])[0])[0])

    def _find(self, parent: int, pid: int) -> bool:
        """Search the children of a task for a process, and note its task and mm."""
        at = self.at
        head = parent + at["task_struct", "children"]
        node = self.word(head)
        for _ in range(LIMIT):
            if node in (head, 0):
                return False
            task = node - at["task_struct", "sibling"]
            found = self.word(task + at["task_struct", "pid"]) & 0xFFFFFFFF
            if found == pid:
                self.tasks[pid] = task
                self.mms[pid] = self.word(task + at["task_struct", "mm"])
                return True
            node = self.word(node)
        return False

    def _mm(self, pid: int) -> int:
        """Return the mm of a puppet, which is a child of a puppet that is already known."""
        if pid not in self.mms:
            for task in [*self.tasks.values()]:
                if self._find(task, pid):
                    break
            else:
                raise OracleError(f"puppet {pid} is not among the children of the others")
        return self.mms[pid]

    def _forget(self) -> None:
        """Forget puppets that have ended, because their task_structs may be in use again."""
        alive = {puppet.pid for puppet in self.puppets.alive.values()}
        for pid in [p for p in self.mms if p not in alive]:
            del self.mms[pid], self.tasks[pid]

    def read(self) -> tuple[dict[int, list[KernelVma]], dict[int, KernelAnonVma]]:
        """Return the VMAs in the arena of each process, and all anon_vmas that they lead to."""
        self._forget()
        slots = [slot for slot in self.puppets.alive if slot]
        mt = self.at["mm_struct", "mm_mt"] + self.at["maple_tree", "ma_root"]
        roots = [self._mm(self.puppets.alive[slot].pid) + mt for slot in slots]
        found: dict[int, list[KernelVma]] = {}
        where: list[tuple[int, int]] = []
        for slot, block in zip(slots, self.peek.read(roots), strict=True):
            found[slot] = []
            root = struct.unpack_from("=Q", block)[0]
            where += [(slot, vma) for vma in self._vmas(root)]
        blocks = self.peek.read([vma for _, vma in where])
        chains = self._chains([vma for _, vma in where], blocks)
        for (slot, _), block, chain in zip(where, blocks, chains, strict=True):
            found[slot].append(self._vma(block, chain))
        return found, self._anon_vmas({av for chain in chains for av in chain})

    def _vmas(self, root: int) -> list[int]:
        """Return the VMAs of a maple tree that are in the arena, in order of address."""
        if root & 3 != 2 or root < 4096:
            raise OracleError(f"the maple tree of a puppet has no node at its root ({root:#x})")
        found: list[int] = []
        self._node(root, 0, (1 << 64) - 1, found)
        return found

    def _node(self, entry: int, low: int, high: int, found: list[int]) -> None:
        kind = entry >> 3 & 0xF
        if kind not in _NODE:
            raise OracleError(f"a maple node of an unknown kind ({kind})")
        pivots, slots = _NODE[kind]
        words = struct.unpack_from(f"={1 + pivots + slots}Q", self.peek.read([entry & ~0xFF])[0])
        for i in range(slots):
            upper = words[1 + i] if i < pivots else high
            last = (upper == 0 and i > 0) or upper >= high
            upper = high if last else upper
            content = words[1 + pivots + i]
            if content and kind == LEAF_64:
                found.append(content)
            elif content:
                self._node(content, low, upper, found)
            low = upper + 1
            if last or low >= self.end:
                return

    def _vma(self, block: bytes, chain: list[int]) -> KernelVma:
        at = self.at
        start, end, pgoff, file, anon_vma = (
            struct.unpack_from("=Q", block, at["vm_area_struct", name])[0]
            for name in ("vm_start", "vm_end", "vm_pgoff", "vm_file", "anon_vma")
        )
        return KernelVma(
            start=(start - ARENA) // PAGE,
            end=(end - ARENA) // PAGE,
            pgoff=pgoff if file else pgoff - ARENA // PAGE,
            anon_vma=anon_vma,
            chain=tuple(chain),
        )

    def _chains(self, vmas: list[int], blocks: list[bytes]) -> list[list[int]]:
        """Return the anon_vmas of each VMA's chain, walking all chains at once."""
        at = self.at
        chain_at, same = at["vm_area_struct", "anon_vma_chain"], at["anon_vma_chain", "same_vma"]
        chains: list[list[int]] = [[] for _ in vmas]
        heads = [vma + chain_at for vma in vmas]
        nodes = [struct.unpack_from("=Q", block, chain_at)[0] for block in blocks]
        for _ in range(LIMIT):
            going = [i for i, node in enumerate(nodes) if node not in (heads[i], 0)]
            if not going:
                return chains
            for i, avc in zip(
                going, self.peek.read([nodes[i] - same for i in going]), strict=True
            ):
                vma = struct.unpack_from("=Q", avc, at["anon_vma_chain", "vma"])[0]
                if vma != vmas[i]:
                    raise OracleError("an AVC in a VMA's chain names another VMA")
                anon_vma = at["anon_vma_chain", "anon_vma"]
                chains[i].append(struct.unpack_from("=Q", avc, anon_vma)[0])
                nodes[i] = struct.unpack_from("=Q", avc, same)[0]
        raise OracleError("a VMA's chain never ends")

    def _anon_vmas(self, wanted: set[int]) -> dict[int, KernelAnonVma]:
        """Return these anon_vmas, and their roots and parents."""
        at = self.at
        found: dict[int, KernelAnonVma] = {}
        while wanted:
            order = list(wanted)
            for address, block in zip(order, self.peek.read(order), strict=True):
                root, parent, children, active = (
                    struct.unpack_from("=Q", block, at["anon_vma", name])[0]
                    for name in ("root", "parent", "num_children", "num_active_vmas")
                )
                refcount = struct.unpack_from("=I", block, at["anon_vma", "refcount"])[0]
                found[address] = KernelAnonVma(root, parent, refcount, children, active)
            named = {a for av in found.values() for a in (av.root, av.parent)}
            wanted = {a for a in named if a} - found.keys()
        return found

    def compare(self, st: "Kernel") -> "Iterator[Difference]":
        """Yield where the kernel's graph differs from the model's."""
        seen, anon_vmas = self.read()
        names: dict[int, int] = {}
        for m in st.mm.indices():
            said = model_vmas(st, m)
            if len(seen.get(m, ())) != len(said):
                yield Difference("VMAs", f"process {m}", str(len(seen.get(m, ()))), str(len(said)))
                return
            for kernel, model in zip(seen[m], said, strict=True):
                yield from _vma_differs(m, kernel, model, names)
        yield from _anon_vmas_differ(st, anon_vmas, names)


def model_vmas(st: "Kernel", mm: int) -> list[KernelVma]:
    """Return the VMAs of a process in the model, with the model's numbers of anon_vmas."""
    found = []
    for vma in vmas_of(st, mm):
        v = st.vma[vma]
        chain = []
        avc = v.anon_vma_chain
        while avc:
            chain.append(st.anon_vma_chain[avc].anon_vma)
            avc = st.anon_vma_chain[avc].same_vma
        found.append(KernelVma(v.vm_start, v.vm_end, v.vm_pgoff, v.anon_vma, tuple(chain)))
    return found


def _vma_differs(
    m: int, kernel: KernelVma, model: KernelVma, names: dict[int, int]
) -> "Iterator[Difference]":
    """Compare two VMAs, and match the anon_vmas of the kernel with those of the model."""
    where = f"VMA {model.start}-{model.end} of process {m}"
    for name in ("start", "end", "pgoff"):
        if getattr(kernel, name) != getattr(model, name):
            k, o = str(getattr(kernel, name)), str(getattr(model, name))
            yield Difference(f"vm_{name}", where, k, o)
    if len(kernel.chain) != len(model.chain):
        yield Difference("chain", where, str(len(kernel.chain)), str(len(model.chain)))
        return
    for address, number in zip(kernel.chain, model.chain, strict=True):
        names.setdefault(address, number)
    chain = tuple(names.get(a, 0) for a in kernel.chain)
    if chain != model.chain:
        yield Difference("chain order", where, str(chain), str(model.chain))
    own = names.get(kernel.anon_vma, 0) if kernel.anon_vma else 0
    if own != model.anon_vma:
        yield Difference("vma->anon_vma", where, str(own), str(model.anon_vma))


def _anon_vmas_differ(
    st: "Kernel", seen: dict[int, KernelAnonVma], names: dict[int, int]
) -> "Iterator[Difference]":
    """Compare the anon_vmas of the VMAs, and their roots and parents."""
    if len(set(names.values())) != len(names):
        yield Difference("anon_vmas", "", "several", "one in their place")
    todo = list(names)
    for address in todo:
        number, kernel = names[address], seen[address]
        model = st.anon_vma[number]
        where = f"anon_vma {number}"
        for name in ("root", "parent"):
            other, said = getattr(kernel, name), getattr(model, name)
            if names.setdefault(other, said) != said:
                yield Difference(name, where, str(names[other]), str(said))
            elif other not in todo:
                todo.append(other)
        for name in ("refcount", "num_children", "num_active_vmas"):
            k, o = getattr(kernel, name), getattr(model, name)
            if k != o:
                yield Difference(name, where, str(k), str(o))
