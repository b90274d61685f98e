"""Random runs: the walker takes many steps, Hypothesis generates few runs and shrinks them."""
