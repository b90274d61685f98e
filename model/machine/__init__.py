"""The machine without its kernel: typed heap, state, limits, locks, events and cost counters."""
