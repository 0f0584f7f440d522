"""The driver: the process that runs a campaign on a site. It joins the campaign to pool, record and user."""
