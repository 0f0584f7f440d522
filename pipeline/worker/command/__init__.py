"""Trials whose objective is a command: templates, quoting, reports, and the process."""
