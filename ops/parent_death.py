"""Run a command that is told to stop when its parent dies, however the parent dies.

Started as a script, ``parent_death.py PARENT_PID COMMAND…``: it asks the kernel for SIGTERM at the
parent's death (Linux; elsewhere it does nothing) and becomes the command. A separate little program
because doing this between fork and exec of a process that has threads is not safe.
"""

from __future__ import annotations

import os
import sys

_PR_SET_PDEATHSIG = 1
_SIGTERM = 15


def main() -> None:
    """Never returns: it becomes the command, or ends with 1 when the parent is gone already."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGTERM, 0, 0, 0)
        # It may have died before we asked.
        if os.getppid() != parent:
            raise SystemExit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the supervisor's own command line


if __name__ == "__main__":
    main()
