"""Text for people: pictures of states, explanations of runs, and exports to other tools."""

from rmapcheck.report.explain import explain, render
from rmapcheck.report.export import EXPORTS, export
from rmapcheck.report.state_text import state_text

__all__ = ["EXPORTS", "explain", "export", "render", "state_text"]
