"""A simulated pool with a virtual clock, for tests and for measurements of scale."""
