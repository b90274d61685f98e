"""The machine being checked: the kernel's memory management, small, and the rmap schemes."""
