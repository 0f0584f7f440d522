"""The program that runs on each node of a block. Uses the standard library only."""
