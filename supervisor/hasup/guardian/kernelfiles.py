"""Reading the kernel's files, in /proc and in cgroups, in a third of the system calls that ``open`` takes."""

import os


def read_small(path: str) -> bytes:
    """One that fits into a page. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def read_whole(path: str) -> bytes:
    """One that may be long. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, 65536), b""))
    finally:
        os.close(fd)
