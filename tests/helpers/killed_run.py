"""``python -m benchmarks`` with the studies beside it; kills itself if told.

Usage: killed_run.py CELL ARGUMENT...; kill -9 comes when that many cells are
about to be put in their places, and never where CELL is 0.
"""

import os
import pathlib
import signal
import sys

from benchmarks import __main__ as command_line
from benchmarks import studies

STUDIES = pathlib.Path(__file__).parent / "own_studies"


def kill_before(cell):
    replace, seen = os.replace, []

    def counted(source, target):
        if ".seed-" in pathlib.Path(target).name:
            seen.append(target)
            if len(seen) == cell:
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = counted


if __name__ == "__main__":
    studies.__path__.append(str(STUDIES))
    kill_before(int(sys.argv[1]))
    sys.exit(command_line.main(sys.argv[2:]))
