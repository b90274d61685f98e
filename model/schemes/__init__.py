"""The schemes: one file per kernel generation or idea, with the eras as subclasses."""

HISTORY = (
    "virtual_scan",
    "pte_chain_list",
    "rmap_speedup",
    "pte_chain",
    "rmap15",
    "objrmap",
    "objrmap_nonlinear",
    "anonmm_chains",
    "anonmm",
    "anon_vma_rfc",
    "anon_vma",
    "anon_vma_eras",
    "anon_vma_chain_list",
    "anon_vma_root",
    "anon_vma_reuse",
)
"""The files that have schemes, oldest kernels first."""
