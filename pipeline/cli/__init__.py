"""The command line. One light module for each command; heavy packages are imported when a command runs."""
