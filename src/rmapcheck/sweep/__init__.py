"""Sweeps: many searches and random runs on many processes, with the results in one file."""
