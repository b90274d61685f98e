"""Bugs of anonmm, 2003 … 2004. Each override is the whole bug."""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.scheme import Bug
from rmapcheck.model.schemes.anonmm import AnonmmCopies

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class HeadFreedTwice(AnonmmCopies):
    """exit_rmap() checked whether the head is the last of its family after releasing the lock.

    Of two last exits at the same time, both could find that it was, and free it: the first one
    left a count of two and was interrupted; when it read the count again, the second had left one.
    """

    name = "E31"
    bug = Bug(
        id="E31",
        title="rmap 10 add anonmm rmap: the count is sampled under the lock",
        introduced="patches of 2003-03-20",
        fixed="06e0ee4abf",
        violates="lock_discipline",
        evidence="verified; the fix's hash is that of the mirror dmgerman/history-token",
        scope={"mms": 2, "pages": 1, "ops": ["fork", "exit"]},
        steps=2,
    )

    def samples_under_lock(self) -> bool:
        return False


class ContextFails(AnonmmCopies):
    """A fork that fails in init_new_context() leaves an anonmm that points to a freed mm_struct.

    copy_mm() first inserts the child into the family; its error path frees the child's mm without
    exit_rmap(). The next walk in that family uses the freed mm.
    """

    name = "E32"
    bug = Bug(
        id="E32",
        title="never fixed as such; anonmm was dropped",
        introduced="patches of 2003-03-20",
        fixed="8aa3448cabdf",
        violates="no_dangling",
        evidence="found by reading the patches; copy_mm() is recalled, no report is known",
        scope={"mms": 2, "pages": 1, "alloc_fail": True, "ops": ["fork"]},
        steps=1,
    )

    def new_context(self, st: "State", mm: int) -> int:
        # Stands for the LDT, which is allocated and here freed at once.
        context = kmem_cache_alloc(st, st.anonmm)
        if context == 0:
            return -ENOMEM
        kmem_cache_free(st, st.anonmm, context)
        return 0


class CopyFails(AnonmmCopies):
    """Without memory for its copy, a page that swap-in mapped stays where no walk looks.

    Nothing is overridden: rmap 11 was like that. do_swap_page() maps the page and then calls
    do_wp_page() for the copy. If that fails, the mapping stays. A process that faulted is killed,
    but get_user_pages() only returns an error.
    """

    name = "E33"
    bug = Bug(
        id="E33",
        title="never fixed as such; anonmm was dropped",
        introduced="0c35710493",
        fixed="8aa3448cabdf",
        violates="address_known",
        evidence="found by this model; no report is known",
        scope={
            "mms": 2,
            "pages": 2,
            "premapped": 1,
            "protections": 1,
            "alloc_fail": True,
            "ops": ["fault", "fork", "swap", "mremap"],
        },
        steps=6,
    )
