"""The processes that a trial's objective runs in."""
