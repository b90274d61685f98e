"""Tables and pages of the documentation, made from the code."""
