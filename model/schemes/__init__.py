"""The schemes, one kernel generation a file, its eras as subclasses."""
