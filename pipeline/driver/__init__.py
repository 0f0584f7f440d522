"""The driver: the process that runs a campaign on a site."""
