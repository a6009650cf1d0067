"""A disk that takes no more."""

import contextlib
import resource


@contextlib.contextmanager
def largest_file(size):
    """A limit that the system itself sets, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
