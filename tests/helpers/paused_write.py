"""Writes a file, and waits for a line before it puts it in its place.

Usage: paused_write.py FILE
"""

import os
import pathlib
import sys

from benchmarks.runs import files

CONTENT = b"all that was measured\n"

if __name__ == "__main__":
    replace = os.replace

    def wait(source, target):
        print("written", flush=True)
        sys.stdin.readline()
        replace(source, target)

    os.replace = wait
    files.write_atomically(pathlib.Path(sys.argv[1]), CONTENT)
