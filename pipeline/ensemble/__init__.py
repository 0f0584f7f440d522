"""Ensembles: models of a study that predict together, chosen from predictions that their trials have stored.

:mod:`.held` reads the stored predictions and :mod:`.losses` scores sums of them, with which :mod:`.selection` chooses
members and weights. :mod:`.combined` is the mixture of the members' predictions and :mod:`.scores` says how good it is.
:mod:`.saved` writes an ensemble into a folder of its own and loads it again. All of that needs NumPy and SciPy;
PyTorch is imported for members that are networks, when they predict.
"""
