"""Locks: their kinds and order, and which ones the running operation holds.

The order follows the comment at the head of mm/rmap.c (v7.0), reduced to what the model has::

    mmap_lock                   mm->mmap_lock (mmap_sem before v5.8), nests in fork
      folio lock                PG_locked
        i_mmap lock             of the file: see model/i_mmap/list.py
          anon_vma lock         root->rwsem; one per anon_vma before v2.6.36
            page_table_lock     ptl; two nest in fork and mremap
              PG_chainlock      page->flags bit (v2.5.27 … v2.6.6)
                anonmm lock     of the head of a bundle (anobjrmap)
              rmap_locks[]      by page->index (Phillips, 2002), instead of PG_chainlock

A lock that is taken out of order, taken twice, or not released is reported at once. Operations run
one after another, so no operation ever waits for a lock.
"""

from typing import Protocol

import attrs

MMAP_LOCK = 1
FOLIO_LOCK = 2
I_MMAP_LOCK = 3
ANON_VMA_LOCK = 4
PTL = 5
CHAIN_LOCK = 6
ANONMM_LOCK = 7
RMAP_LOCK = 8

NAMES = (
    "",
    "mmap_lock",
    "folio lock",
    "i_mmap lock",
    "anon_vma lock",
    "page_table_lock",
    "PG_chainlock",
    "anonmm lock",
    "rmap_locks",
)
NESTING = (MMAP_LOCK, PTL)
"""Kinds of which two may be held at once (down_write_nested(), spin_lock_nested())."""
SPINNING = (PTL, CHAIN_LOCK, ANONMM_LOCK, RMAP_LOCK)
"""Spinlocks, under which the kernel must not sleep."""


@attrs.frozen
class HeldLock:
    """A lock that the running operation holds."""

    kind: int
    index: int
    write: bool


class HoldsLocks(Protocol):
    """The part of a state that records locks."""

    held: list[HeldLock]
    """In the order in which they were taken."""
    splats: list[str]
    """Errors in the use of locks, each a sentence."""
    nr_locks: int


def acquire(st: HoldsLocks, kind: int, index: int, *, write: bool = True) -> None:
    """Take lock `kind` of object `index`, and report a wrong order."""
    for held in st.held:
        if held.kind > kind or (held.kind == kind and kind not in NESTING):
            st.splats.append(
                f"{NAMES[kind]} of {index} is taken while "
                f"{NAMES[held.kind]} of {held.index} is held"
            )
        elif held.kind == kind and held.index == index:
            st.splats.append(f"{NAMES[kind]} of {index} is taken twice")
    st.held.append(HeldLock(kind, index, write))
    st.nr_locks += 1


def trylock(st: HoldsLocks, kind: int, index: int) -> bool:
    """Take lock `kind` of object `index` in any order, unless this operation already holds it.

    Return whether it was taken. A trylock needs no order because it never waits, and it fails only
    on a lock of the same operation because no other operation runs.
    """
    for held in st.held:
        if held.kind == kind and held.index == index:
            return False
    st.held.append(HeldLock(kind, index, write=True))
    st.nr_locks += 1
    return True


def release(st: HoldsLocks, kind: int, index: int) -> None:
    """Release lock `kind` of object `index`."""
    for i in range(len(st.held) - 1, -1, -1):
        if st.held[i].kind == kind and st.held[i].index == index:
            del st.held[i]
            return
    st.splats.append(f"{NAMES[kind]} of {index} is released but not held")


def held_index(st: HoldsLocks, kind: int) -> int:
    """Return the object whose lock `kind` the running operation holds, or 0."""
    for held in st.held:
        if held.kind == kind:
            return held.index
    return 0


def might_sleep(st: HoldsLocks, what: str) -> None:
    """Report an error if a spinlock is held at `what`, where the kernel may sleep."""
    for held in st.held:
        if held.kind in SPINNING:
            st.splats.append(f"{what} while {NAMES[held.kind]} of {held.index} is held")


def assert_held(st: HoldsLocks, kind: int, index: int, what: str) -> None:
    """Report an error if `what` is done without lock `kind` of `index`; lockdep_assert_held()."""
    for held in st.held:
        if held.kind == kind and held.index == index:
            return
    st.splats.append(f"{what} without {NAMES[kind]} of {index} held")


def assert_held_write(st: HoldsLocks, kind: int, index: int, what: str) -> None:
    """Report an error if `what` is done without lock `kind` of `index` held for writing.

    lockdep_assert_held_write().
    """
    for held in st.held:
        if held.kind == kind and held.index == index and held.write:
            return
    st.splats.append(f"{what} without {NAMES[kind]} of {index} held for writing")
