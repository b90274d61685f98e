"""A matrix of searches and random runs, done by many processes, and its results in one file."""
