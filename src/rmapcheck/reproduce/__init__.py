"""A case as a C program for a real kernel: written, predicted by the model, run and compared."""
