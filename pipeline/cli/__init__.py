"""The command line. One light module a group of commands; what is heavy is imported when a command runs."""
