"""Emulators of the commands of OpenPBS and Cobalt, which run the jobs they are given for real, on this host.

``install.install`` makes a small machine in a folder: the commands (``bin/``), the state (``state.json``) and the
files of jobs. There is no server: every command reads and writes the state under a lock, and every job has a *mom*
(``mom.py``), a process that waits for the job's turn, runs it, kills it and ends with it.

The commands load no package but this one, and this file stays empty: they are to be as quick as the real ones.
"""
