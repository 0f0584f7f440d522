"""Ready-made objectives to start from. Each module documents its parameters, and imports only what it needs.

| module | for |
| --- | --- |
| `functions` | test functions and a simulated training run; needs the standard library only |
| `sklearn_classifier` | a scikit-learn classifier on a table (keyword style) |
| `torch_classifier` | a PyTorch network on a table, with reports and a checkpoint |

A study file names one as `module:function`, or by its short name in :mod:`~.registry`.
"""
