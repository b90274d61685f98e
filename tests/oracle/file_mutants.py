"""Mutants with a wrong rule about ranges of files, truncation or the page cache."""

from tests.oracle.planting import Mutant

AVC = "rmapcheck.model.schemes.anon_vma_chain:AvcBase."
MM = "rmapcheck.model.mm."

FILE_MUTANTS = (
    # Faults.
    Mutant(
        "a private write maps the page of the file itself",
        MM + "fault:do_fault",
        "copies = write and not st.vma[vma].vm_flags & VM_SHARED",
        "copies = False",
    ),
    Mutant(
        "a shared write makes a copy",
        MM + "fault:do_fault",
        "copies = write and not st.vma[vma].vm_flags & VM_SHARED",
        "copies = write",
    ),
    Mutant(
        "a private write beyond the end needs no anon_vma",
        MM + "fault:do_fault",
        "if st.scheme.era.cow_prepares_first and",
        "if False and",
    ),
    Mutant(
        "a read fault of a range of a file gets an anon_vma",
        MM + "fault:finish_fault",
        "p.folio = folio\n",
        "p.folio = folio\n    st.scheme.anon_vma_prepare(st, vma)\n",
    ),
    Mutant(
        "a private write takes a page of a file that is mapped for itself",
        MM + "fault:do_wp_page",
        "if folio and st.vma[vma].vm_flags & VM_SHARED:",
        "if folio and not folio_test_anon(st, folio):",
    ),
    Mutant(
        "a shared write copies a page of a file that is mapped",
        MM + "fault:do_wp_page",
        "if folio and st.vma[vma].vm_flags & VM_SHARED:",
        "if False:",
    ),
    Mutant(
        "a page of the page cache counts as anonymous",
        MM + "filemap:filemap_add_folio",
        "f.index = index\n",
        "f.index = index\n    f.anon = 1\n",
    ),
    Mutant(
        "a copy of a page of a file does not count as anonymous",
        MM + "fault:_map_new_page",
        "if st.scheme.era.anon_exclusive:\n",
        "if st.vma[vma].vm_file:\n        st.folio[folio].anon = 0\n"
        "    if st.scheme.era.anon_exclusive:\n",
    ),
    Mutant(
        "a read fault maps one page",
        MM + "fault:do_fault",
        "if st.scheme.era.fault_around and not write:",
        "if False:",
    ),
    Mutant(
        "a read fault maps nothing below it",
        MM + "fault:do_fault_around",
        "for page in range(v.vm_start, v.vm_end):",
        "for page in range(address, v.vm_end):",
    ),
    Mutant(
        "a fault beyond the end brings a page",
        MM + "fault:faults_beyond",
        "return index >= st.address_space[st.vma[vma].vm_file].i_size",
        "return False",
    ),
    # Truncation and reclaim.
    Mutant(
        "truncation leaves private copies",
        MM + "truncate:unmap_mapping_page",
        "if copy and not even_cows:",
        "if copy:",
    ),
    Mutant(
        "a hole takes private copies",
        MM + "truncate:unmap_mapping_page",
        "if copy and not even_cows:",
        "if False:",
    ),
    Mutant(
        "truncation misses shared ranges",
        MM + "truncate:unmap_mapping_range",
        "if not (v.vm_nonlinear and st.scheme.era.truncates_nonlinear):",
        "if not v.vm_flags & 64:  # VM_SHARED",
    ),
    Mutant(
        "truncation finds the first range only",
        MM + "truncate:unmap_mapping_range",
        "in st.scheme.i_mmap.foreach(st, mapping, first, last, rwc):",
        "in st.scheme.i_mmap.foreach(st, mapping, first, last, rwc)[:1]:",
    ),
    Mutant(
        "truncation leaves the pages in the page cache",
        MM + "truncate:truncate_setsize",
        "truncate_inode_pages_range(st, mapping, size, old - 1)",
        "pass",
    ),
    Mutant(
        "reclaim leaves the pages of files that are mapped",
        MM + "vmscan:reclaim_file_folio",
        "if st.scheme.folio_mapped(st, folio):",
        "if False:",
        tier="swap",
    ),
    # fork.
    Mutant(
        "fork leaves the pages of a file out of a private range",
        MM + "fork:copy_one_pte",
        "    if src.folio:\n",
        "    if src.folio and not folio_test_anon(st, src.folio):\n        return\n"
        "    if src.folio:\n",
    ),
    Mutant(
        "fork copies the entries of a shared range",
        AVC + "fork_copies",
        "return st.vma[pvma].anon_vma != 0",
        "return st.vma[pvma].anon_vma != 0 or st.vma[pvma].vm_flags & 64 != 0  # VM_SHARED",
    ),
    # Merging, mprotect, madvise, mremap.
    Mutant(
        "ranges of different files join",
        MM + "vma_merge:is_mergeable_vma",
        "if st.vma[vma].vm_file != vmg.file:",
        "if False:",
    ),
    Mutant(
        "mprotect uncharges a range of a file",
        MM + "mmap:mprotect_fixup",
        "elif v.vm_file:",
        "elif False:",
    ),
    Mutant(
        "a range of a file may be wiped on fork",
        MM + "mmap:madvise_flags",
        "if set_flags & VM_WIPEONFORK and st.vma[vma].vm_file:",
        "if False:",
    ),
    Mutant(
        "mremap fits the vm_pgoff of a never-faulted range of a file",
        MM + "mremap:copy_vma",
        "if v.anon_vma == 0 and v.vm_file == 0:",
        "if v.anon_vma == 0:",
    ),
)
