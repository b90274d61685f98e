"""The operations that a comparison takes: directed choice, and openings."""
