"""The translator: turns functions of the model from Python into C."""
