"""Random runs: the plain walker for volume, Hypothesis for cunning and shrinking."""
