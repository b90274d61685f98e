"""How C stores a state: structs, keys, the order of processes."""
