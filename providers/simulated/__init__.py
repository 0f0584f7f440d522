"""A simulated pool on a virtual clock, for tests and for measurements of scale."""
