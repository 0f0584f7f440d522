"""Runs one Python objective in several processes, its ranks, as one attempt."""
