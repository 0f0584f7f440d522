"""``pilotune site check``: a small block through the real queue, looked at from both ends."""
