"""Saved runs: read (never evaluated), checked against their schema, repeated, shortened."""
