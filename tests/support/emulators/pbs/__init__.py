"""The commands of OpenPBS 23.06."""
