"""Each step of the model is one that its spec allows."""
