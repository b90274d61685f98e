"""The schemes, one kernel generation a file, its eras as subclasses."""

HISTORY = (
    "virtual_scan",
    "pte_chain_list",
    "rmap_speedup",
    "pte_chain",
    "rmap15",
    "objrmap",
    "anonmm_chains",
    "anonmm",
    "anon_vma_rfc",
    "anon_vma",
    "anon_vma_eras",
    "anon_vma_chain",
    "anon_vma_root",
    "anon_vma_reuse",
)
"""The files, oldest kernels first."""
