"""Users' own Python code that a study file names: finds it, imports it, and says where it failed.

:mod:`.references` finds it without importing it, for ``pilotune check``; :mod:`.importing` imports it, on workers and
in the driver; :mod:`.parts` makes the samplers, pruners and callbacks that run in the driver. Workers import only
:mod:`.importing`, so this file imports nothing.
"""
