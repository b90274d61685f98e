"""The cost of schemes: bytes and steps, counted by the model on named workloads."""
