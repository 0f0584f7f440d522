"""``pilotune dashboard``: optuna-dashboard on one study, safe on a host that is shared with other users.

===========  ==========================================================================================================
``storage``  the studies as optuna-dashboard reads them: this study alone, on a connection that cannot write
``writable``  the same with Optuna's own writes, for ``--write``
``guard``    what stands before every request: the token, the host's name, and what may be changed
``serve``    the server on the loopback interface
===========  ==========================================================================================================
"""
