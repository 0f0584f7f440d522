"""Parsl's HighThroughputExecutor as a pool of workers."""
