"""Exhaustive search: visit every state of a scope, breadth first, interpreted or in C."""
