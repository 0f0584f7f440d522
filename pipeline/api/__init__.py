"""Pilotune in Python: ``pilotune.run``, ``pilotune.open``, and what they return.

The package ``pilotune`` offers these names and imports their modules when they are first used. Everything that is
heavy is imported by the functions that need it.
"""
