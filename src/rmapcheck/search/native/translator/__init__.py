"""Functions of the model, from Python to C."""
