"""The commands of ``pilotune``, one module each."""
