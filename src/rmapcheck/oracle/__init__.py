"""The oracle: compares the model with the running kernel, operation by operation.

Puppets are processes that carry out the model's operations. Observers read what the kernel shows
of them. The predictor says what it should show.
"""
