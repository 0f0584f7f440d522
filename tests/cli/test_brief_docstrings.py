"""Commands that draw import matplotlib without the tables of its docstrings, and leave its functions as they were."""

from __future__ import annotations

import subprocess
import sys


def test_no_table_of_properties_is_made_and_the_function_that_makes_them_is_put_back() -> None:
    code = (
        "from matplotlib import artist\n"
        "made, calls = artist.kwdoc, []\n"
        "def counted(each):\n"
        "    calls.append(each)\n"
        "    return made(each)\n"
        "artist.kwdoc = counted\n"
        "from pilotune.pipeline.cli.brief_docstrings import import_matplotlib\n"
        "import_matplotlib()\n"
        "import matplotlib.figure\n"
        "assert artist.kwdoc is counted\n"
        "print(len(calls))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
