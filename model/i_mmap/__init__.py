"""The containers of a file's VMAs (i_mmap): list, prio_tree, interval tree."""
