"""Pipes for the output of children."""

import errno
import fcntl
import os

SIZE = 1 << 20  # a child may be so far ahead of a busy core before it has to wait


def make_pipe() -> tuple[int, int]:
    """``(read end, write end)``, close-on-exec; the read end does not block, the child's does.

    As large as the kernel allows: a user's pipes together have a limit, past which new ones are small.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    for size in (SIZE, SIZE // 4, SIZE // 16):
        try:
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, size)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBUSY, errno.ENOMEM):
                break
        else:
            break
    return read_end, write_end
