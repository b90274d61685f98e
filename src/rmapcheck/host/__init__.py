"""What rmapcheck needs of the machine it runs on: compiler, libc, swap, booting kernels."""
