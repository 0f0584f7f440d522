"""The program on each node of a block."""
