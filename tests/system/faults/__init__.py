"""Studies under real faults: each attempt notes what it did, and the study is compared with these notes.

``python -m tests.system.faults`` from the repository root injects them all and prints a table; ``--list`` names them.
The tests run the same cases, smaller.
"""
