"""Schedulers: one file each, and what they share. Blocks are jobs of theirs."""
