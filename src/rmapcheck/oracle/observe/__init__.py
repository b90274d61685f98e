"""Observers: read what the running kernel shows in /proc, and its structs through BPF."""
