"""Keep freed memory in the process instead of handing it back to the system at once.

Training allocates and frees the same few tens of megabytes hundreds of times a second. glibc's
defaults return such blocks to the kernel on every free and fault them in again on every use.
`tests/measure_allocator.py` measures what that costs; PETWEAK_KEEP_MEMORY=0 turns this off.
"""

from __future__ import annotations

import ctypes
import os

# From malloc.h; the environment variables of the same meaning win.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
LIMITS = {
    "MALLOC_TRIM_THRESHOLD_": (M_TRIM_THRESHOLD, 512 << 20),
    "MALLOC_TOP_PAD_": (M_TOP_PAD, 64 << 20),
    "MALLOC_MMAP_THRESHOLD_": (M_MMAP_THRESHOLD, 512 << 20),
}


def keep_memory() -> bool:
    """Raise glibc's thresholds for this process. False where the C library is another
    one, or PETWEAK_KEEP_MEMORY=0."""
    if os.environ.get("PETWEAK_KEEP_MEMORY") == "0":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(*limit) for name, limit in LIMITS.items() if name not in os.environ])
