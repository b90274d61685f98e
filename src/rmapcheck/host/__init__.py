"""The machine that rmapcheck runs on: its compiler, its libc, its swap, kernels booted on it."""
