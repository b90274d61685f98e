"""How C represents a state: structs, keys, the order of processes."""
