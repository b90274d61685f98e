"""Scope: all limits in one place, printed with each verdict."""

from typing import Any

import attrs

from rmapcheck.model.machine.errors import ScopeError

GROUPS = (
    "mmap",
    "munmap",
    "mprotect",
    "fault",
    "fork",
    "exec",
    "exit",
    "mremap",
    "madvise",
    "brk",
    "swap",
    "referenced",
    "file",
    "reclaim",
    "truncate",
    "remap",
)
"""Names of the operation groups, from which `Scope.ops` chooses. Those from "file" on need
files."""

EXTRAS = ("swapoff", "mlock")
"""Groups that a scope has only if it names them."""

FILE_GROUPS = GROUPS[GROUPS.index("file") :]

PARTS = {"read": "fault", "write": "fault", "mmap_free": "mmap", "mremap_move": "mremap"}
"""Parts of groups, which `Scope.ops` may name instead of the whole group: loads; stores; mmap of
free pages; mremap that only moves pages of one VMA to free ones."""

LARGEST_FIELD = 250
"""The largest value of a stored field. A field is one byte; dangling references use larger
values."""


def _limit(low: int, high: int, default: int) -> int:
    def check(_instance: object, attribute: "attrs.Attribute[int]", value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            msg = f"scope: {attribute.name} must be a whole number, not {value!r}"
            raise ScopeError(msg)
        if not low <= value <= high:
            msg = f"scope: {attribute.name} must be from {low} to {high}, not {value}"
            raise ScopeError(msg)

    result: int = attrs.field(default=default, validator=check, metadata={"range": (low, high)})
    return result


def _known_groups(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        msg = f"scope: ops must be a list of group names, not {value!r}"
        raise ScopeError(msg)
    for name in value:
        if name not in (*GROUPS, *EXTRAS, *PARTS):
            known = ", ".join((*GROUPS, *EXTRAS, *PARTS))
            msg = f"scope: no operation group is called {name!r}; choose among {known}"
            raise ScopeError(msg)
    if len(set(value)) != len(value):
        msg = "scope: ops names a group twice"
        raise ScopeError(msg)


@attrs.frozen(kw_only=True)
class Scope:
    """How large the machine is, and which operations it has.

    All sizes are counts; addresses and lengths are in pages. A step that would need more objects
    than the scope has is dropped, and the run reports how often that happened. Raise ScopeError
    for limits out of range.
    """

    mms: int = _limit(1, 8, 2)
    pages: int = _limit(1, 32, 2)
    vmas: int = _limit(1, 200, 6)
    folios: int = _limit(1, 200, 4)
    swaps: int = _limit(0, 200, 1)
    objects: int = _limit(1, LARGEST_FIELD - 1, 12)
    """Size of each pool of rmap objects (anon_vma, anon_vma_chain, pte_chain, …)."""
    anon_vmas: int = _limit(0, LARGEST_FIELD - 1, 0)
    """Size of the pool of anon_vmas, if it should differ from `objects`; 0: the same."""
    alloc_fail: bool = attrs.field(default=False)
    """Repeat every operation once for each of its allocations, and let that allocation fail."""
    young: bool = attrs.field(default=False)
    """Model the accessed bit of page-table entries."""
    protections: int = _limit(1, 4, 2)
    """How many protections mmap and mprotect choose from: RW, R, NONE, RWX, in this order."""
    recycle: bool = attrs.field(default=False)
    """A freed rmap object may be allocated again with the same number while pointers to it remain,
    as from a SLAB_TYPESAFE_BY_RCU cache. Otherwise such pointers stay dangling."""
    premapped: int = _limit(0, 32, 0)
    """Process 1 starts with a readable and writable VMA of this many pages, from page 0."""
    rss_limit: int = _limit(0, 32, 0)
    """RLIMIT_RSS of every process, in pages, for schemes that enforce it; 0: no limit."""
    files: int = _limit(0, 4, 0)
    """Number of files that can be mapped; 0: no file-backed memory, and no fields for it in
    states."""
    file_pages: int = _limit(1, 32, 1)
    """Length of each file at the start, and its largest length."""
    ops: tuple[str, ...] = attrs.field(default=GROUPS, validator=_known_groups)

    @classmethod
    def large(cls, **limits: Any) -> "Scope":  # noqa: ANN401
        """Return a scope beyond the limits of stored states, for runs that only count steps."""
        with attrs.validators.disabled():
            return cls(recycle=True, **limits)

    def __attrs_post_init__(self) -> None:
        if attrs.validators.get_disabled():
            return
        for name in ("alloc_fail", "young", "recycle"):
            if not isinstance(getattr(self, name), bool):
                msg = f"scope: {name} must be true or false, not {getattr(self, name)!r}"
                raise ScopeError(msg)
        if self.premapped > self.pages:
            msg = f"scope: premapped must be at most pages, {self.pages}, not {self.premapped}"
            raise ScopeError(msg)
        if self.mms * self.pages > LARGEST_FIELD:
            msg = (
                f"scope: {self.mms} processes of {self.pages} pages have more than "
                f"{LARGEST_FIELD} page-table entries; lower mms or pages"
            )
            raise ScopeError(msg)

    @property
    def offsets(self) -> int:
        """Return the largest page offset: of anonymous memory an address, of a file its length."""
        return max(self.pages, self.file_pages) if self.files else self.pages

    @property
    def nonlinear(self) -> bool:
        """Whether remap_file_pages() may put a file's pages where vm_pgoff does not say."""
        return self.files > 0 and "remap" in self.ops

    @property
    def grows_down(self) -> bool:
        """Whether there are stacks of exec, which have VM_GROWSDOWN."""
        return "exec" in self.ops

    @property
    def every(self) -> bool:
        """Whether `ops` are exactly the groups of a scope that does not set `ops`."""
        wanted = GROUPS if self.files else [g for g in GROUPS if g not in FILE_GROUPS]
        return all(g in self.ops for g in wanted) and not set(self.ops) & set(EXTRAS)

    def has(self, group: str) -> bool:
        """Return whether `ops` names operation group `group`, or a part of it."""
        return any(PARTS.get(name, name) == group for name in self.ops)

    def __str__(self) -> str:
        extra = "".join(
            f", {name}" for name in ("alloc_fail", "young", "recycle") if getattr(self, name)
        )
        if self.anon_vmas:
            extra += f", anon_vmas={self.anon_vmas}"
        if self.premapped:
            extra += f", premapped={self.premapped}"
        if self.rss_limit:
            extra += f", rss_limit={self.rss_limit}"
        if self.files:
            extra += f", files={self.files} of {self.file_pages} pages"
        ops = "all" if self.every else "+".join(self.ops)
        return (
            f"mms={self.mms} pages={self.pages} vmas={self.vmas} folios={self.folios} "
            f"swaps={self.swaps} objects={self.objects} protections={self.protections}"
            f"{extra} ops={ops}"
        )
