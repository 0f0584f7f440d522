"""Ready-made objectives that users start from. Each module says what its parameters are and imports what it needs.

| module | for |
| --- | --- |
| `functions` | test functions and a make-believe learning curve, on the standard library alone |
| `sklearn_classifier` | a scikit-learn classifier on a table (keyword style) |
| `torch_classifier` | a PyTorch network on a table, with reports and a checkpoint |
"""
