"""Goals: interesting situations that a run must have reached before its HOLDS means something.

A goal is reached by a state (a predicate is true of it) or by an operation (it takes a branch of
model/branches.py). If a run did not reach a goal that its scope allows, its result says nothing
about that goal: it is *vacuous*.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from rmapcheck.invariants.completeness import mapped_folios, mappers_of
from rmapcheck.model.branches import BRANCHES
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import folio_test_anon, ptep_to_mm

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.scheme import Scheme


@attrs.frozen(kw_only=True)
class Goal:
    """A goal, and the smallest scope in which it can be reached."""

    name: str
    ops: tuple[str, ...]
    """The operation groups that it needs."""
    mms: int = 1
    pages: int = 1
    protections: int = 1
    file_pages: int = 0
    """How many pages a file must have; 0: no file is needed."""
    feature: str = ""
    """A feature that the scheme's kernels must have; see `Era.lacks`."""
    predicate: Callable[["Kernel"], bool] | None = None
    """Whether a state reaches the goal. None: an operation reaches it by the branch `name`."""
    universal: bool = True

    @property
    def scope(self) -> Scope:
        """The smallest scope that allows the goal; a complete search of it must reach the goal."""
        maps = "mmap" in self.ops or self.file_pages > 0
        return Scope(
            mms=self.mms,
            pages=self.pages,
            protections=max(self.protections, 2 if "mprotect" in self.ops else 1),
            folios=self.pages + 1,
            vmas=self.mms * self.pages + 1,
            objects=20,
            swaps=int("swap" in self.ops),
            files=int(self.file_pages > 0),
            file_pages=max(self.file_pages, 1),
            young="referenced" in self.ops,
            premapped=0 if maps else self.pages,
            ops=self.ops,
        )

    def offered(self, scope: Scope) -> bool:
        """Return whether a run in `scope` can reach the goal."""
        maps = scope.has("mmap") or scope.premapped >= self.pages
        return (
            scope.mms >= self.mms
            and scope.pages >= self.pages
            and scope.protections >= self.protections
            and all(scope.has(op) for op in self.ops)
            and (
                scope.files > 0 and scope.file_pages >= self.file_pages
                if self.file_pages
                else maps
            )
            and ("swap" not in self.ops or scope.swaps > 0)
            and ("referenced" not in self.ops or scope.young)
        )


GOALS: dict[str, Goal] = {}


def _goal(
    name: str,
    *ops: str,
    mms: int = 1,
    pages: int = 1,
    protections: int = 1,
    file_pages: int = 0,
    feature: str = "",
    universal: bool = True,
    predicate: Callable[["Kernel"], bool] | None = None,
) -> None:
    if predicate is None and name not in BRANCHES:
        raise ValueError(f"no branch is called {name!r}; model/branches.py declares them")
    GOALS[name] = Goal(
        name=name,
        ops=ops,
        mms=mms,
        pages=pages,
        protections=protections,
        file_pages=file_pages,
        feature=feature,
        predicate=predicate,
        universal=universal,
    )


def sometimes(
    name: str,
    *ops: str,
    mms: int = 1,
    pages: int = 1,
    file_pages: int = 0,
    universal: bool = True,
) -> Callable[[Callable[["Kernel"], bool]], Callable[["Kernel"], bool]]:
    """Register a predicate on states as a goal."""

    def register(predicate: Callable[["Kernel"], bool]) -> Callable[["Kernel"], bool]:
        _goal(
            name,
            *ops,
            mms=mms,
            pages=pages,
            file_pages=file_pages,
            universal=universal,
            predicate=predicate,
        )
        return predicate

    return register


def _sharers(st: "Kernel", folio: int) -> int:
    """Return how many processes map a page."""
    return len({ptep_to_mm(st, ptep) for ptep in mappers_of(st, folio)})


@sometimes("a page is shared by two processes", "fault", "fork", mms=2)
def _shared_by_two(st: "Kernel") -> bool:
    return any(_sharers(st, folio) > 1 for folio in mapped_folios(st))


@sometimes("a page is shared by three processes", "fault", "fork", mms=3)
def _shared_by_three(st: "Kernel") -> bool:
    return any(_sharers(st, folio) > 2 for folio in mapped_folios(st))


@sometimes("a page is only in swap", "fault", "swap")
def _only_in_swap(st: "Kernel") -> bool:
    return any(st.swap[e].folio == 0 for e in st.swap.indices())


@sometimes("an anonmm outlives its process", "fault", "fork", "exit", mms=2, universal=False)
def _anonmm_alone(st: "Kernel") -> bool:
    return any(st.anonmm[a].mm == 0 for a in st.anonmm.indices())


@sometimes(
    "a page of a file is shared by two processes", "file", "fault", "fork", mms=2, file_pages=1
)
def _file_shared(st: "Kernel") -> bool:
    return any(
        _sharers(st, folio) > 1 for folio in mapped_folios(st) if not folio_test_anon(st, folio)
    )


_goal("a page of a file is copied", "file", "fault", file_pages=1)
_goal(
    "a mapped page of a file is reclaimed",
    "file",
    "fault",
    "reclaim",
    file_pages=1,
    feature="try_to_unmap",
)
_goal("truncation unmaps a page", "file", "fault", "truncate", file_pages=1)
_goal("truncation takes a private copy", "file", "fault", "truncate", file_pages=1)
_goal(
    "a hole leaves a private copy", "file", "fault", "truncate", file_pages=1, feature="punch_hole"
)
_goal(
    "a page is mapped off its linear place",
    "file",
    "remap",
    file_pages=2,
    feature="remap_file_pages",
)
_goal("a page of a file is converted", "file", "fault", "remap", file_pages=2, universal=False)
_goal("copy on write", "fault", "fork", mms=2)
_goal("write fault reuses", "fault", "fork", mms=2)
_goal("swap-in", "fault", "swap")
_goal("swapoff frees a slot", "fault", "swap", "swapoff")
_goal("a locked page stays mapped", "fault", "swap", "mlock")
_goal("split", "munmap", pages=3)
_goal("merge case 1", "mmap", pages=3)
_goal("merge case 4", "mprotect", pages=3)
_goal("merge case 5", "mprotect", pages=3)
_goal("merge case 6", "mprotect", pages=3)
_goal("merge case 7", "mprotect", pages=2)
_goal("merge case 8", "mprotect", pages=2)
_goal("mremap merges", "mremap", pages=2)
_goal("chain of two cloned", "fault", "fork", "mprotect", mms=2, pages=2, universal=False)
_goal("chain of three", "fault", "fork", mms=3, universal=False)
_goal("anon_vma reused at fork", "fault", "fork", "exit", mms=3, universal=False)
_goal("neighbour's anon_vma adopted", "mprotect", "fault", pages=2, protections=4, universal=False)
_goal("a merge hands its anon_vma on", "mprotect", "fault", pages=2, universal=False)
_goal("the scan unmaps a page", "fault", "swap", universal=False)
_goal(
    "the scan goes on by i_mmap",
    "file",
    "fault",
    "fork",
    "swap",
    mms=2,
    file_pages=1,
    universal=False,
)
_goal("the scan leaves a page mapped elsewhere", "fault", "fork", "swap", mms=2, universal=False)
_goal("fork keeps the lock for the next page", "fault", "fork", mms=2, pages=2, universal=False)
_goal("fork changes the lock on its way", "fault", "fork", "swap", mms=2, pages=2, universal=False)
_goal("a chain of two", "fault", "fork", mms=2, universal=False)
_goal("mremap copies a shared page", "fault", "fork", "mremap", mms=2, pages=2, universal=False)
_goal(
    "swap-in copies a moved page",
    "fault",
    "fork",
    "mremap",
    "swap",
    mms=2,
    pages=2,
    universal=False,
)
_goal(
    "a page leaves an extinct process",
    "fault",
    "fork",
    "exit",
    "referenced",
    mms=2,
    universal=False,
)
_goal("a page is at two addresses", "fault", "fork", "mremap", mms=2, pages=2, universal=False)
_goal("a direct page gets a chain", "fault", "fork", mms=2, universal=False)
_goal("a chain becomes direct", "fault", "fork", mms=2, universal=False)
_goal("a chunk is full", "fault", "fork", mms=3, universal=False)
_goal("a page has two chunks", "fault", "fork", "exit", "referenced", mms=4, universal=False)


def goals_of(scheme: "Scheme | type[Scheme]", scope: Scope) -> list[Goal]:
    """Return the goals that a run of `scheme` in `scope` can reach."""
    return [
        goal
        for goal in GOALS.values()
        if (goal.universal or goal.name in scheme.goals)
        and goal.name not in scheme.unreachable
        and goal.feature not in scheme.era.lacks
        and goal.offered(scope)
    ]


def goals_anywhere(scheme: "Scheme | type[Scheme]") -> list[Goal]:
    """Return all goals that some run of `scheme` can reach."""
    goals = (goal for goal in GOALS.values() if scheme.maps_files or not goal.file_pages)
    return [goal for goal in goals if goal in goals_of(scheme, goal.scope)]
