"""Blocks of a pool: how many there are, what ended them, and what they leave behind."""
