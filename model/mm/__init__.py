"""The scheme-independent kernel, one file a topic.

Plain statements over the typed heap, loops bounded by the scope, errors returned as -errno: the
same source is meant to be compiled.
"""
