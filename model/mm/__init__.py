"""The kernel's MM, the same for all schemes, one file per topic.

The code is plain statements over the typed heap: loops are bounded by the scope, and errors are
returned as -errno. The same source is translated to C (src/rmapcheck/search/native).
"""
