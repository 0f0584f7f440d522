"""The full-screen view of ``pilotune watch``.

=================  ================================================================================================
``observe``        reads the campaign's files in a thread of its own; nothing is asked of its driver or database
``reports``        the last report values of running trials, and spark lines of them
``messages``       what happened, each sentence once, with its time
``render``         a status as text and table rows, fitted to the terminal's width
``app``            starts the observer, and ends with the campaign or when the user leaves
``screen``         the main screen with its keys; ``dialogs`` and ``output`` are the screens above it
``tables``         a table that keeps its cursor on the same row
=================  ================================================================================================

Only this room imports Textual, and of its modules not the first four.
"""
