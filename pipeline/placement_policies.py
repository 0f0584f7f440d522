"""The names of the policies by which trials are placed on pools; apart from what implements them, which needs SciPy."""

POLICIES = ("learned", "fifo", "shadho")
