"""exec: a new image, with a one-page stack that is moved down to its final place.

After fs/exec.c. The stack VMA starts at the top of the address space and holds one argument page,
which is written before the final place of the stack is known. Then shift_arg_pages()
(b6a2fea39318, v2.6.23; relocate_vma_down() since v6.13) moves the VMA and the page: the VMA grows
to cover the old and the new place, the entries are moved, and the VMA is cut at the top. Its
vm_pgoff now belongs to the new start, so the page keeps its index. The stack has VM_GROWSDOWN
(VM_STACK_FLAGS), so no other VMA merges with it. Left out: it does not grow; migration must skip a
stack that is being moved (B06, a race).
"""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_alloc
from rmapcheck.model.machine.locks import MMAP_LOCK, acquire, release
from rmapcheck.model.machine.structs import VM_ACCOUNT, VM_READ, VM_WRITE
from rmapcheck.model.mm.fault import handle_mm_fault
from rmapcheck.model.mm.mremap import move_page_tables
from rmapcheck.model.mm.unmap import exit_mmap
from rmapcheck.model.mm.virtual_scan import mmlist_exec
from rmapcheck.model.mm.vma import range_changed, range_changes, vma_link

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def sys_execve(st: "Kernel", mm: int, shift: int) -> int:
    """Replace the image of `mm`; the stack ends `shift` pages below the top. Return 0 or -ENOMEM.

    If mm_alloc() fails, the old image still exists. A later -ENOMEM leaves an empty address space,
    as of a process that was killed during exec.
    """
    if st.scheme.exec_rmap(st):
        return -ENOMEM
    exit_mmap(st, mm)
    if st.scheme.virtual_scan:
        mmlist_exec(st, mm)
    st.scheme.exec_mmap(st, mm)
    tell(st, "exec_mm", mm)
    top = st.pages
    error = setup_stack(st, mm, top)
    if error == 0:
        error = handle_mm_fault(st, mm, top - 1, write=True)
    if error == 0 and shift:
        error = shift_arg_pages(st, mm, shift)
    if error:
        exit_mmap(st, mm)
    return error


def setup_stack(st: "Kernel", mm: int, top: int) -> int:
    """Insert the one-page stack; __bprm_mm_init(), fs/exec.c. Return 0 or -ENOMEM."""
    acquire(st, MMAP_LOCK, mm)
    vma = kmem_cache_alloc(st, st.vma)
    if vma:
        v = st.vma[vma]
        v.vm_start = top - 1
        v.vm_end = top
        v.vm_pgoff = top - 1
        v.vm_flags = VM_READ | VM_WRITE | VM_ACCOUNT
        v.vm_growsdown = 1 if st.scope.grows_down else 0
        vma_link(st, mm, vma)
        tell(st, "mmap", vma)
    release(st, MMAP_LOCK, mm)
    return 0 if vma else -ENOMEM


def shift_arg_pages(st: "Kernel", mm: int, shift: int) -> int:
    """Move the stack down by `shift` pages; shift_arg_pages(), fs/exec.c. Return 0 or -ENOMEM.

    ::

        ......S    one page, at the top
        ...SSSS    the same VMA covers both places while the entry is moved
        ...S...    then it is cut behind the new place
    """
    acquire(st, MMAP_LOCK, mm)
    vma = st.mm[mm].mmap
    v = st.vma[vma]
    start = v.vm_start
    range_changes(st, vma, 0)
    # vm_pgoff does not change: it now belongs to the new start, so the page keeps its index.
    v.vm_start = start - shift
    range_changed(st, vma, 0)
    moved = move_page_tables(st, vma, start, vma, start - shift, 1)
    range_changes(st, vma, 0)
    v.vm_end = start - shift + 1
    range_changed(st, vma, 0)
    tell(st, "exec_move", vma)
    release(st, MMAP_LOCK, mm)
    return 0 if moved == 1 else -ENOMEM
