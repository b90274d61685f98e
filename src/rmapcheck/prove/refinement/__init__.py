"""Refinement: checks that each step of the model is a step that its spec allows."""
