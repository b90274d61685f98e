"""What the rmap of each scheme does, said in logic, for `rmapcheck prove`."""
