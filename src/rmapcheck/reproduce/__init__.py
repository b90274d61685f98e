"""Writes a case as a C program, runs it on a real kernel, and compares it with the model."""
