"""Every state of a scope, breadth first: interpreted, or in C (native)."""
