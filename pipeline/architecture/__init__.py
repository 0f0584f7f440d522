"""Spaces of network architectures: graphs of operations, of which the search chooses.

A study file describes a graph (:class:`.graph.Graph`), whose nodes are ordinary parameters of the study.
:mod:`.notation` reads operations as text, :mod:`.operations` holds their table, :mod:`.network` finds the network that
a trial's parameters describe, with its shapes and the number of its weights, and :mod:`.source` writes it as a PyTorch
program. All of that needs the standard library only; :mod:`.build` runs the program, with PyTorch.
"""
