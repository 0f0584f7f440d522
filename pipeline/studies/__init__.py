"""Finds studies and campaigns, starts, observes and stops them, and says how they are: for both shell and Python."""
