"""Search at native speed: the model's own Python source as one C file, compiled and loaded."""
