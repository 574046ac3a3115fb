"""Becomes a child of `playbooksctl dev`: asks the kernel for SIGTERM when `dev` is gone, then runs the command.

Run as a file, ``python -S dev_child.py PARENT-PID COMMAND…``, and never imported: it must start in a blink. So a killed
`dev` (SIGKILL, a closed terminal) leaves no server and no worker behind. Elsewhere than on Linux it only runs the command.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was asked
            sys.exit(0)
    os.execvp(command[0], command)
