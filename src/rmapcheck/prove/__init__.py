"""Proofs with Z3, for any number of processes, VMAs, pages and rmap objects."""
