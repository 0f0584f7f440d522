"""Blocks: how many a pool has, what is submitted, how they ended, and what they leave behind."""
