"""Who makes the stages: this process in turn or, with `petweak ... --on ray`, tasks on a cluster.

A task is a call such as `run.model_scores(source, labels)`, in another process and on the same
folder, which all nodes have to see: by the same code, so with the same numbers. What asks for the
stage afterwards finds it made. Ray starts a task when those that it needs have ended and a node has
room, and again, elsewhere, when it fails or its node is lost; a training goes on at its last epoch.
"""

import copyreg
import functools
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import ge
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from petweak.config import parse_assignments
from petweak.data import distributed
from petweak.data.files import read_json
from petweak.study import cache
from petweak.study.about import git_commit, versions

Call = functools.partial  # of a method of a run, or of another function
RESOURCES = ("cpus", "gpus", "memory")  # of a task; memory in GiB
AGAIN = 2  # times that a task is tried after the first
PORT = 10001  # of Ray's server for clients
PATIENCE = 10  # seconds for an address to answer
TASKS = "tasks of a cluster"  # what the process that hands them out locks
SHARED = 60  # seconds after which every node sees a new file, caches of network file systems or not

_hand_out: Callable[..., dict[Call, Exception]] | None = None


class Unmade(RuntimeError):
    """Tasks that failed, each with its error; all others are finished."""


@contextmanager
def cluster(address: str, task: Sequence[str], folder: Path) -> Iterator[None]:
    """While it is entered, `ahead` hands its calls to a Ray cluster; with no `address`, nothing is
    different. `ray` is the cluster that RAY_ADDRESS names or this machine belongs to, else this
    machine alone; `ray://host:port` any other. `task`: what each takes, `cpus=2 gpus=0.5 memory=8`.
    No other cluster makes anything of the run in `folder` meanwhile.
    ValueError for a bad argument, or one that no node has room for, ConnectionError where nobody
    answers, RuntimeError where all nodes are lost."""
    global _hand_out
    if not address:
        yield
        return
    if distributed.size() > 1:  # only the first process would hand out tasks, the others wait
        raise ValueError(f"--on {address} under torchrun: call the command without torchrun, as "
                         "tasks share the work already, or leave out --on")
    options, ray = _resources(task), _connect(address)
    try:
        _require_room(ray, options, ValueError)
        with cache.locked(folder, TASKS):
            _hand_out = functools.partial(_tasks, ray, options, folder)
            yield
    finally:
        _hand_out = None
        ray.shutdown()


def ahead(calls: Iterable[Call] | Mapping[Call, Iterable[Call]]) -> None:
    """Make on the cluster what is going to be asked for; without a cluster, nothing is done. With a
    mapping, each call has those that it needs, which come before it. Unmade, when all others have
    ended, where some have failed."""
    calls = calls if isinstance(calls, Mapping) else dict.fromkeys(calls, ())
    if not (failed := failures(calls)):
        return
    lines = [f"{_name(call)}: {error!r}" for call, error in failed.items()]
    text = f"{len(failed)} of {len(calls)} tasks failed (the same command tries them again)"
    raise Unmade("\n".join([text, *lines])) from ExceptionGroup("", list(failed.values()))


def failures(calls: Iterable[Call] | Mapping[Call, Iterable[Call]]) -> dict[Call, Exception]:
    """As `ahead`; returns the error of each call that has failed."""
    needs = calls if isinstance(calls, Mapping) else dict.fromkeys(calls, ())
    return _hand_out(needs) if _hand_out else {}


def with_masks(models: Iterable[tuple[Callable, str, str]]) -> dict[Call, list[Call]]:
    """For `ahead`: of each `(run.model_scores or run.self_trained_scores, source, labels)` the
    masks, then the model, and the scores of both."""
    calls = {}
    for scores, source, labels in models:
        masks = functools.partial(scores.__self__.mask_scores, source)
        calls |= {masks: [], functools.partial(scores, source, labels): [masks]}
    return calls


def _connect(address: str) -> Any:
    scheme, _, place = address.partition("://")
    if scheme != "ray" or address.endswith("://"):
        raise ValueError(f"--on {address}: say ray, or ray://host:{PORT}")
    try:
        import ray
    except ImportError:
        raise ValueError(f"--on {address} needs Ray: pip install petweak[ray]") from None
    near = place or os.environ.get("RAY_ADDRESS", "").removeprefix("ray://")
    host, _, port = near.partition(":")
    # Names of functions inside of others lead nowhere in another process: their content goes along.
    copyreg.pickle(functools._lru_cache_wrapper, lambda f: (functools.cache, (f.__wrapped__,)))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    stop = signal.getsignal(signal.SIGTERM)
    try:
        if place or port:  # Ray itself would try for minutes
            socket.create_connection((host, int(port or PORT)), PATIENCE).close()
        ray.init(f"ray://{host}:{port or PORT}" if place else None, log_to_driver=False,
                 logging_level="ERROR")
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # the command's own, which Ray has replaced
    except (OSError, ValueError, RuntimeError) as error:
        ray.shutdown()  # of what it has begun
        reason = next(iter(str(error).splitlines()), "no reason is given")
        raise ConnectionError(
            f"--on {address}: no Ray cluster answers at {near or 'this machine'} ({reason}). `ray "
            "start --head` starts one, `ray status` on a node of it says whether it runs. The port "
            f"of ray:// is for clients, {PORT} by default. Without a cluster, --on ray takes this "
            "machine, unless RAY_ADDRESS is set"
        ) from error
    return ray


def _resources(task: Sequence[str]) -> dict[str, float]:
    given = parse_assignments(list(task))
    if unknown := ", ".join(sorted(set(given) - set(RESOURCES))):
        raise ValueError(f"--task: unknown {unknown}: there are {', '.join(RESOURCES)}")
    try:
        default = (1.0, torch.cuda.is_available(), 2.0)
        cpus, gpus, gib = (float(given.get(k, v)) for k, v in zip(RESOURCES, default, strict=True))
    except ValueError:
        cpus = gpus = gib = -1.0
    if min(cpus, gpus, gib) < 0:
        raise ValueError(f"--task {' '.join(task)}: say numbers, memory in GiB")
    return {"num_cpus": cpus, "num_gpus": gpus, "memory": int(gib * 2**30)}


def _require_room(ray: Any, options: dict[str, float], kind: type[Exception]) -> None:
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    nodes = [[node["Resources"].get(names[k], 0) for k in options]
             for node in ray.nodes() if node["Alive"]]
    if not any(all(map(ge, node, options.values())) for node in nodes):
        has = (f"cpus={n[0]:g} gpus={n[1]:g} memory={n[2] / 2**30:.1f}" for n in nodes)
        raise kind(f"no node has room for a task (there are: {'; '.join(has) or 'none'}): say what "
                   "a task takes, as in --task cpus=1 gpus=0 memory=2, or start more nodes")


def _tasks(ray: Any, options: dict[str, float], folder: Path, needs: Mapping[Call, Iterable[Call]]
           ) -> dict[Call, Exception]:
    make = ray.remote(max_retries=AGAIN, retry_exceptions=True, **options)(_make)
    here, refs, failed = _here(folder), {}, {}
    for call, before in needs.items():
        task = make.options(name=_name(call))
        refs[call] = task.remote(call, folder, here, SHARED, *(refs[one] for one in before))
    left = list(refs.values())
    with tqdm(total=len(left), desc="tasks", unit="task") as bar:
        while left:
            done, left = ray.wait(left, timeout=PATIENCE)
            bar.update(len(done))
            if left:
                _require_room(ray, options, RuntimeError)
    for call, ref in refs.items():
        try:
            ray.get(ref)
        except Exception as error:  # of whatever kind, it is of this task alone
            cause = getattr(error, "cause", None)
            if lost := [_name(one) for one in needs[call] if one in failed]:
                error, cause = RuntimeError(f"not tried, as these failed: {', '.join(lost)}"), None
            if isinstance(cause, Exception):
                cause.__cause__, error = error, cause  # whose text has the traceback over there
            failed[call] = error
    return failed


def _here(folder: Path) -> dict[str, Any]:
    """What has to be equal in all processes that write into the run in `folder`; the process that
    hands out the tasks has a lock there."""
    lock = read_json(cache.lock_file(folder, TASKS).with_suffix(".json"))
    return {"lock": lock, "commit": git_commit()} | versions()


def _make(call: Call, folder: Path, there: dict[str, Any], patience: float, *needed: None) -> None:
    """A task, in a process of its own on whichever node; what it makes is on disk."""
    until = time.monotonic() + patience
    while (here := _here(folder))["lock"] != there["lock"] and time.monotonic() < until:
        time.sleep(1)
    for name in (k for k in there if here[k] != there[k]):
        text = (f"has another {name}, {here[name]}, than the {there[name]} that was asked for: "
                "install the same on all nodes")
        if name == "lock":
            text = f"does not see {folder}: --run and --data-root have to lie where all nodes do"
        raise OSError(f"{platform.node()} {text}")
    call()


def _name(call: Call) -> str:
    of = getattr(call.func, "__self__", None)  # a run, or None of a function
    return " ".join([call.func.__name__, *map(str, call.args)]) + (f" in {of.folder}" if of else "")
