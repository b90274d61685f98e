"""What each scheme costs: bytes and steps, measured by the model on named workloads."""
