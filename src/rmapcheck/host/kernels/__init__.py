"""Builds user-mode kernels, with and without a fix."""
