"""Puppets: processes that carry out the model's operations on the running kernel."""
