"""Processes that do on the running kernel what the model does."""
