"""Run a command that the kernel kills when its starter dies, even by ``kill -9``.

Run as a script (never imported), so that no code of ours executes between
fork and exec of a possibly threaded parent. Usage: PARENT_PID COMMAND...
"""
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = int(sys.argv[1])
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f'prctl: {os.strerror(ctypes.get_errno())}')
    if os.getppid() != parent:
        sys.exit('the starter is already gone')
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == '__main__':
    main()
