"""Studies under real faults: what each attempt did is noted beside the campaign, and compared with what was kept.

``python -m tests.system.faults`` from the repository root injects them all and prints a table; ``--list`` names them.
The tests run the same cases, smaller.
"""
