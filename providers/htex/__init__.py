"""The pool of workers, which runs trials on Parsl's HighThroughputExecutor."""
