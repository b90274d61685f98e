"""What the running kernel shows of itself: /proc, and its structs through BPF."""
