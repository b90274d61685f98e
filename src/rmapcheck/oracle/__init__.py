"""The model against the kernel that is running: puppets, what can be seen of them, prediction."""
