"""A study on its way: what the user asked for, what is tried next, what is kept, and the process that drives it."""
