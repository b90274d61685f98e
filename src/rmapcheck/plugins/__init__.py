"""Schemes by name: those that come with rmapcheck, and a user's own, which are checked first."""

from rmapcheck.plugins.find import find_scheme

__all__ = ["find_scheme"]
