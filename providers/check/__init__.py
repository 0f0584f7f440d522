"""``pilotune site check``: a small block through the real queue, checked from both ends."""
