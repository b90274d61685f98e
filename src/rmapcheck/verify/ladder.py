"""The scopes of the ladder: which are searched, in which order, and what each is for.

Each scope has a few operations, and as few objects as these need, so that all of its states can be
searched.
"""

from typing import Any

import attrs

from rmapcheck.invariants.goals import goals_anywhere
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import bugs

MEMORY_MB = 6000
"""For each search."""
REQUIRED = 16
"""How many of `LADDER`, from the first, must be exhausted before HOLDS is said."""


def _scope(mms: int, pages: int, folios: int, ops: str, **more: Any) -> Scope:  # noqa: ANN401
    chosen = {"swaps": int("swap" in ops.split()), "protections": 1, **more}
    return Scope(mms=mms, pages=pages, folios=folios, ops=tuple(ops.split()), **chosen)


LONG_FORKS = _scope(
    3, 2, 1, "mprotect fault fork exit", protections=2, premapped=2, vmas=8, objects=40
)
DEPTHS = {LONG_FORKS: 9}
"""Scopes of the ladder that have no end in sight, and how many operations deep they are searched:
"bounded", which does not count as exhausted."""

LADDER: tuple[Scope, ...] = (
    # Every operation there is, in the smallest machine.
    Scope(mms=1, pages=1),
    # A family that shares a page, which goes to swap and comes back.
    _scope(3, 1, 2, "fault fork swap", premapped=1),
    # VMAs that are split, merged and moved; then the heap, and each allocation failing once.
    _scope(1, 2, 2, "mmap munmap mprotect fault mremap", protections=2),
    _scope(1, 2, 2, "mmap munmap mprotect fault mremap brk", protections=2, alloc_fail=True),
    # A VMA between two others, with both of which it merges.
    _scope(1, 3, 1, "munmap mprotect fault", protections=2, premapped=3),
    # Parents that exit before their children.
    _scope(3, 1, 1, "fault fork exit", premapped=1, objects=20),
    # VMAs split before a fork, and after it; then forks that fail midway.
    _scope(2, 2, 2, "mprotect fault fork", protections=2, premapped=2),
    _scope(3, 2, 1, "munmap fault fork", premapped=2, objects=20, alloc_fail=True),
    # VMAs moved beside each other, before their pages are there and after.
    _scope(1, 3, 2, "mmap fault mremap"),
    # Ranges of two pages that move; moves in a family; a family that madvise and exec change.
    _scope(1, 4, 2, "munmap fault mremap_move", premapped=2),
    _scope(2, 2, 2, "fault fork mremap", premapped=2),
    _scope(2, 1, 2, "fault fork exec exit madvise", premapped=1),
    # Moves in a family: of three pages, that fail midway, and of a page in swap.
    _scope(2, 3, 2, "fault fork mremap_move", premapped=2),
    _scope(2, 2, 2, "fault fork mremap_move", premapped=1, alloc_fail=True),
    _scope(2, 2, 2, "fault fork swap mremap_move", premapped=1),
    # A family with locked pages and without its swap area.
    _scope(2, 1, 2, "fault fork swap swapoff mlock", premapped=1),
    # The required ones end here. VMAs of three pages in a family: split, merged, moved.
    _scope(2, 3, 1, "mprotect fault fork", protections=2, premapped=3),
    _scope(2, 4, 1, "fault fork mremap_move", premapped=2),
    _scope(2, 3, 1, "fault fork mremap", premapped=2, vmas=3, objects=6),
    # Copies beside the page that relatives still share.
    _scope(3, 1, 2, "fault fork exit", premapped=1, objects=20),
    # The accessed bit, which walks collect.
    _scope(3, 1, 2, "fault fork exit referenced", premapped=1, young=True),
    # What else ends a mapping: exec, madvise.
    _scope(2, 1, 2, "mmap munmap fault fork exec exit madvise swap"),
    # VMAs that relatives split: failing allocations, moves, swap, exits, three generations.
    _scope(2, 2, 2, "mprotect fault fork", protections=2, premapped=2, alloc_fail=True),
    _scope(2, 2, 2, "munmap fault fork mremap", premapped=2),
    _scope(2, 2, 2, "mprotect fault fork swap", protections=2, premapped=2),
    _scope(2, 2, 2, "mprotect fault fork exit", protections=2, premapped=2),
    _scope(3, 2, 1, "mprotect fault fork", protections=2, premapped=2),
    # Chains of forks, in which anon_vmas are reused.
    LONG_FORKS,
    # Every operation, on two pages; the merges of three; every operation, of two processes.
    Scope(mms=1, pages=2, folios=2),
    _scope(1, 3, 2, "mmap munmap mprotect fault mremap", protections=2),
    Scope(mms=2, pages=1, folios=3),
    # Everything that changes a VMA, in a family: with moves, with swap, and on three pages.
    _scope(2, 2, 1, "mprotect fault fork mremap", protections=2, premapped=2),
    _scope(2, 2, 1, "munmap mprotect fault fork mremap swap", protections=2, premapped=2),
    _scope(2, 3, 2, "munmap mprotect fault fork exit mremap swap", protections=2, premapped=3),
)
"""Scopes to exhaust, the cheapest first. Of avc-7.0 the required ones have 113 … 74540 states, and
take four seconds together in C; those after them have up to 366000. The last three have 0.6 and
2.4 million (a minute), and too many for any budget yet."""

LONG = LADDER[-2:]
"""Those that are searched for longer than a compiler takes, so that a library of the scope alone,
which is faster than the general one, is worth while."""

FILES: tuple[Scope, ...] = (
    # Private and shared mappings of a page, and what empties the page cache.
    _scope(2, 1, 2, "munmap fault fork exit file reclaim truncate", files=1),
    # Ranges of a file that overlap, so that the tree of its VMAs has something to order.
    _scope(1, 3, 1, "munmap fault file truncate", files=1, file_pages=3),
    # VMAs of a file that are split, merged and moved.
    _scope(
        1, 2, 2, "munmap mprotect fault mremap file truncate", protections=2, files=1, file_pages=2
    ),
    # Forks that fail midway.
    _scope(3, 1, 1, "munmap fault fork file", files=1, alloc_fail=True),
    # Pages of a file that are mapped in another order.
    _scope(1, 2, 2, "file fault reclaim remap", files=1, file_pages=2),
)
"""Scopes with files, which a scheme that maps files must hold in as well; the last is for those
whose kernels had remap_file_pages(). They have up to 700, 27000, 6000 and 4000 states."""

LIMITED = _scope(2, 2, 2, "mmap munmap fault fork", premapped=2, rss_limit=2)
"""For schemes whose walk looks at the resident set's limit."""
CHUNKS = _scope(7, 1, 1, "fault fork", premapped=1, vmas=7)
"""For schemes whose chains have chunks: a page has three of these."""

NARROW = Scope(mms=3, pages=2, folios=4, objects=40, alloc_fail=True)
WIDE = Scope(mms=3, pages=4, vmas=12, folios=8, swaps=2, objects=60, alloc_fail=True, young=True)
"""Where random runs go, with a file if the scheme maps files; see `with_files`."""


def with_files(scheme: type[Scheme], scope: Scope) -> Scope:
    """Return the scope with a file as long as a process, if the scheme maps files."""
    if not scheme.maps_files:
        return scope
    return attrs.evolve(scope, files=1, file_pages=scope.pages)


def required(scheme: type[Scheme]) -> tuple[Scope, ...]:
    """Return the scopes that must be exhausted before HOLDS is said of `scheme`."""
    return (*LADDER[:REQUIRED], *(s for s in FILES if _has_all(scheme, s)))


def scopes_for(scheme: type[Scheme]) -> tuple[Scope, ...]:
    """Return all scopes that may be searched, without those of LONG."""
    own = bug_scope(scheme) if vars(scheme).get("bug") else None
    goals = (goal.scope for goal in goals_anywhere(scheme))
    scopes = (*required(scheme), *where_relatives_failed(scheme), *LADDER, *goals)
    return tuple(s for s in (*scopes, *((own,) if own else ())) if s not in LONG)


def where_relatives_failed(scheme: type[Scheme]) -> tuple[Scope, ...]:
    """Return the scopes in which bugs of the scheme's relatives are found, the smallest first.

    What went wrong once in a design is what its next variant is likely to get wrong.
    """
    scopes = [LIMITED] if "rsslimit" in scheme.invariants else []
    scopes += [CHUNKS] if hasattr(scheme, "nrpte") else []
    for bug in bugs().values():
        scope = bug_scope(bug)
        if scope is not None and _related(scheme, bug) and _has_all(scheme, scope):
            scopes.append(scope)
    scopes.sort(key=lambda s: (s.mms * s.pages, len(s.ops)))
    already = required(scheme)
    return tuple(s for s in dict.fromkeys(scopes) if s not in already)


def _related(scheme: type[Scheme], other: type[Scheme]) -> bool:
    shared = set(scheme.__mro__) & set(other.__mro__)
    return bool(shared - set(Scheme.__mro__))


def _has_all(scheme: type[Scheme], scope: Scope) -> bool:
    """Return whether the scheme's kernels had what the scope is about."""
    files = scheme.maps_files or not scope.files
    return files and not (scope.nonlinear and "remap_file_pages" in scheme.era.lacks)


def bug_scope(scheme: type[Scheme]) -> Scope | None:
    """Return the scope in which a seeded bug is found soonest, or None."""
    bug = scheme.bug
    if bug is None:
        return None
    given: dict[str, Any] = dict(bug.scope)
    if "ops" in given:
        given["ops"] = tuple(given["ops"])
    return Scope(**given)
