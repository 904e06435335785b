"""The last descriptors are kept back for operators, probes and files: replicas may not take them."""

import errno
import os
import resource

_RESERVE = 64
_SHARE = 4  # of a small limit, this part is kept back


def check() -> None:
    """Raise OSError when only the reserve is left."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return
    lowest = os.dup(0)  # the kernel gives the lowest number that is free
    os.close(lowest)
    if lowest + min(_RESERVE, limit // _SHARE) >= limit:
        raise OSError(errno.EMFILE, f"{os.strerror(errno.EMFILE).lower()} (limit {limit}, see: ulimit -n)")
