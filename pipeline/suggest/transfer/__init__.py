"""Learns from the trials of earlier studies: what they say of a configuration, and how much the new study agrees."""
