import subprocess
import sys

PROBE = """
import ctypes, resource, sys
{first}
def cycle():
    a = ctypes.create_string_buffer(32 << 20)  # glibc would map and unmap this every time
    ctypes.memset(a, 1, len(a))
cycle(); cycle()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    cycle()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first: str) -> int:
    found = subprocess.run([sys.executable, "-c", PROBE.format(first=first)],
                           capture_output=True, text=True, check=True)  # fmt: skip
    return int(found.stdout)


def test_freed_memory_stays_in_the_process():
    """5 times 32 MiB are 40,000 pages to fault in again, or nearly none."""
    assert faults("import petweak") * 10 < faults("")
