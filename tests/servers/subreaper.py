"""Runs one server and sees to it that nothing of it outlives the test run. A program of its own.

    subreaper.py OWNER_PID USER AFTERWARDS -- [COMMAND…]

It starts COMMAND (as USER, when that is not empty), prints its process id, and waits for the end of
either the command or the owner, even by ``kill -9``. Then it kills whatever is left of the
command's descendants: being their subreaper, it inherits also those that made themselves daemons
(as Erlang's epmd does). When it was the owner that ended, it runs AFTERWARDS, a shell command line
that removes what the server leaves on disk.

Linux only: https://man7.org/linux/man-pages/man2/pidfd_open.2.html and PR_SET_CHILD_SUBREAPER in
https://man7.org/linux/man-pages/man2/prctl.2.html.
"""

import ctypes
import os
import pwd
import select
import shlex
import subprocess
import sys

import psutil

PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    owner_pid, user, afterwards, _, *command = sys.argv[1:]
    owner = os.pidfd_open(int(owner_pid))
    if os.getppid() != int(owner_pid):
        return
    _become_subreaper()
    lives = [owner]
    if command:
        lives.append(os.pidfd_open(_start(command, user)))
    owner_ended = owner in _first_to_end(lives)
    _kill_descendants()
    if owner_ended:
        subprocess.run(shlex.split(afterwards), check=False)


def _start(command: list[str], user: str) -> int:
    """Start the server, say its process id to the owner, and answer it."""
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        user=user or None,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    print(server.pid, flush=True)
    return server.pid


def _become_subreaper() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _first_to_end(lives: list[int]) -> list[int]:
    poll = select.poll()
    for pidfd in lives:
        poll.register(pidfd, select.POLLIN)
    return [pidfd for pidfd, _ in poll.poll()]


def _kill_descendants() -> None:
    """Kill until there is no child left to wait for: the dying may leave us orphans meanwhile."""
    while True:
        for descendant in psutil.Process().children(recursive=True):
            try:
                descendant.kill()
            except psutil.NoSuchProcess:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    main()
