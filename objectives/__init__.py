"""Ready-made objectives to start from. Each module documents its parameters, and imports only what it needs.

| module | for |
| --- | --- |
| `functions` | test functions and a simulated training run; needs the standard library only |
| `sklearn_classifier` | a scikit-learn classifier on a table (keyword style) |
| `torch_classifier` | a multilayer perceptron in PyTorch, on images or a table |
| `torch_regressor` | a multilayer perceptron in PyTorch that predicts a mean and a standard deviation, on a table |
| `cnn_classifier` | a convolutional network in PyTorch on images |
| `svm_classifier` | a support vector machine that is trained on more and more rows |
| `boosting_classifier` | gradient boosting, round by round |

The last five report, continue from a checkpoint, and score a validation split. Behind them are `settings` (the
parameters), `images` and `tables` (the data), `parts` and `regression_parts` (what is trained on and what is scored),
`torch_training`, `torch_regression` and `sklearn_errors`.

A study file names one as `module:function`, or by its short name in :mod:`~.registry`.
"""
