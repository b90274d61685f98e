"""A model checker for the reverse mapping (rmap) of Linux memory management."""


def __getattr__(name: str) -> str:
    """Return `__version__`, which is looked up on first use; "unknown" if not installed."""
    if name == "__version__":
        import importlib.metadata

        try:
            return importlib.metadata.version("rmapcheck")
        except importlib.metadata.PackageNotFoundError:
            return "unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
