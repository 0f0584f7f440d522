"""The campaign: a state machine that decides what happens next, and the port to the pools that run its trials."""
