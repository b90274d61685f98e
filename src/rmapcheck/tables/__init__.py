"""Tables and pages of the documentation, generated from the code."""
