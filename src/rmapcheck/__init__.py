"""Engines and front ends of the rmap model checker."""
