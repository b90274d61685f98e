"""The machine without its kernel: a typed heap, the state, its limits, its locks and its books."""
