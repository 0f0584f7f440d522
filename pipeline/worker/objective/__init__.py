"""Finds, calls and reads the result of an objective."""
