"""User-mode kernels, built with and without a fix."""
