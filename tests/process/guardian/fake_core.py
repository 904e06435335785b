"""A core for tests: hands its end of the socket pair to the test, and lives until the guardian hangs up."""

import os
import select
import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
    door.connect(sys.argv[1])
    guardian = int(os.environ["HASUP_GUARDIAN_FD"])
    facts = f"{os.getpid()} {os.environ['HASUP_INSTANCE']} {os.environ.get('HASUP_LOCK_FD', '')}"
    socket.send_fds(door, [facts.encode()], [guardian])
poller = select.poll()
poller.register(guardian, 0)  # only the hang-up: what is there to read belongs to the test
poller.poll()
