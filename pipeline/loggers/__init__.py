"""Writes trials into other tools: TensorBoard, MLflow and Weights & Biases.

The driver feeds a process of its own, :mod:`.process`, so that a slow logger, or one that fails, never holds up the
campaign. :mod:`.settings` is what the study file says; :mod:`.journal` remembers what was written.
"""
