"""The commands of Cobalt 1.0."""
