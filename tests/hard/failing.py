"""A disk that fills up at a chosen write, in a process and in the kernels that it starts."""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

from run_content import unpartial

HERE = Path(__file__).resolve().parent
IN_KERNELS = "PETWEAK_TEST_FAILS"  # an environment variable: the arguments, as JSON


def begin(run: Path, tried: Iterable[str], note: Path, how: str) -> None:
    """The disk fills up at the first write into `run` whose file is not in `tried`; the file's name
    goes into `note`.

    how="open": no file can be made, ENOSPC. how="write": a file can be opened, and from then on no
    file can grow beyond 16 bytes: a limit of the system, whose errno is EFBIG.
    """
    note.write_text("")
    begins_with = note.with_name("python")
    begins_with.mkdir(exist_ok=True)
    (begins_with / "sitecustomize.py").write_text("import failing\nfailing.go_on()\n")
    paths = (begins_with, HERE, HERE.parent, os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    given = {"run": str(run), "tried": sorted(tried), "note": str(note), "how": how}
    os.environ[IN_KERNELS] = json.dumps(given)
    go_on()


def go_on() -> None:
    """What `begin` has said, in this process."""
    run, tried, note, how = json.loads(os.environ[IN_KERNELS]).values()
    told, tried, full = os.open(note, os.O_RDWR | os.O_APPEND), set(tried), False

    def hook(event: str, args: tuple) -> None:
        nonlocal full
        if event != "open" or not isinstance(args[0], str | bytes | os.PathLike):
            return
        path, (_, mode, flags) = os.fsdecode(args[0]), args
        writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        if not writes or not path.startswith(run) or path.endswith(".lock"):
            return
        name, elsewhere = unpartial(os.path.relpath(path, run)), os.fstat(told).st_size > 0
        if not full and (elsewhere or name not in tried):
            if not elsewhere:
                os.write(told, name.encode())
            full = True
            if how == "write":
                resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))
        if full and how == "open":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(hook)
