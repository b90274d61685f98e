"""A model checker for the reverse mapping (rmap) of Linux memory management."""
