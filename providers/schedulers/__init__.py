"""Providers that submit blocks as jobs of a scheduler: one module for each scheduler, and what they share."""
