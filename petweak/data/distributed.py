"""Several processes that torchrun has started: the first one runs the command, the others help it.

Rank 0 alone reads what is there, decides what is missing, keeps the locks and writes. What
pays to be shared, a pass over the photos and a training, it calls by `together`: then all processes
are in the same function, and `share` tells each its part. Otherwise the others wait. So a command
need not know of processes, and no two of them can disagree on what comes next.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

WAIT = timedelta(days=30)  # while the first process makes masks, scores and reports
_together = False  # whether all processes are in the same function


def led(command: Callable[[], Iterable]) -> Iterator:
    """In each of torchrun's processes: what `command` yields in the first one; the others help
    until it ends. ConnectionError where one of them has ended before."""
    cards, here = torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
    with _connected():  # NCCL where each process has a card of its own
        backend = "cpu:gloo,cuda:nccl" if cards >= here else "gloo"
        dist.init_process_group(backend, timeout=WAIT)
    if cards:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % cards)
    del os.environ["TORCHELASTIC_RUN_ID"]  # what this process starts is none of torchrun's
    if dist.get_rank():
        logging.disable(logging.WARNING)
        while task := _told(None):
            with suppress(FloatingPointError):  # of a loss that all have in common
                _call(*task)
    else:
        try:
            yield from command()
        finally:
            if not _together:
                with suppress(ConnectionError):
                    _told(())
    dist.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    there = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if there else 1


def note(device: str) -> str:
    """For the keys of models that are trained on this kind of device: how many processes train
    them, where that changes results. On a GPU the noise of a part of a batch is its own."""
    return f" {size()} processes" if device != "cpu" and size() > 1 else ""


def together(function: Callable, *args: Any) -> Any:
    """function(*args) in all processes at once; returns the first one's result."""
    if size() == 1 or _together:
        return function(*args)
    _told((function, args))
    return _call(function, args)


def share() -> tuple[int, int]:
    """(rank, number of processes) of what all of them do together; (0, 1) of anything else."""
    return (dist.get_rank(), size()) if _together else (0, 1)


def quiet() -> dict[str, bool]:
    """For a progress bar of what all do together: the first process alone shows its own. Nothing is
    said where all would, so that TQDM_DISABLE goes on to count."""
    return {"disable": True} if share()[0] else {}


def part(n: int) -> tuple[slice, float]:
    """Of a batch of `n` photos those of this process, and their weight in the mean over the batch.
    There is at least one, of weight 0 perhaps: a process without photos takes its steps, too."""
    rank, number = share()
    first, end = n * rank // number, n * (rank + 1) // number
    return (slice(first, end), (end - first) / n) if first < end else (slice(0, 1), 0.0)


def total(tensor: Tensor) -> Tensor:
    """The sum over the processes, in place."""
    if share()[1] > 1:
        with _connected():
            dist.all_reduce(tensor)
    return tensor


def gathered(value: Any) -> list:
    """Every process's value, in the order of ranks. None goes on before all have called it."""
    values = [value] * share()[1]
    if len(values) > 1:
        with _connected():
            dist.all_gather_object(values, value)
    return values


def add_gradients(model: nn.Module) -> None:
    """Each gradient becomes the sum over the processes."""
    if share()[1] > 1:
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        sums = total(torch.cat([g.flatten() for g in grads])).split([g.numel() for g in grads])
        for grad, whole in zip(grads, sums, strict=True):
            grad.copy_(whole.view(grad.shape))


def as_one(n: int, rows: slice) -> AbstractContextManager:
    """While these rows of a batch of `n` pass a network on a CPU: dropout as of the whole batch."""
    return _Noise(n, rows) if share()[1] > 1 else nullcontext()


class _Noise(TorchDispatchMode):
    """Noise is drawn for the whole batch, as it would lie in memory, and its rows are taken. All
    processes draw as much, so their generators stay in step."""

    def __init__(self, n: int, rows: slice) -> None:
        super().__init__()
        self.n, self.rows = n, rows

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is not torch.ops.aten.bernoulli_.float or args[0].device.type != "cpu":
            return function(*args, **kwargs or {})
        noise, *rest = args
        order = sorted(range(noise.dim()), key=lambda d: (-noise.stride(d), d == 0))
        whole = torch.empty_permuted((self.n, *noise.shape[1:]), order, dtype=noise.dtype)
        return noise.copy_(function(whole, *rest, **kwargs or {})[self.rows])


def _told(task: tuple | None) -> tuple:
    """What the first process says."""
    box = [task]
    with _connected():
        dist.broadcast_object_list(box, 0)
    return box[0]


def _call(function: Callable, args: tuple) -> Any:
    """After any error but that of a loss, the others are still in the function: nothing can be told
    to them, and they end with this process."""
    global _together
    _together = True
    try:
        result = function(*args)
    except FloatingPointError:
        _together = False
        raise
    _together = False
    return result


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's, of which each has kinds of its own
        cause = str(error).strip().splitlines()[0]
        text = (f"one of the processes that torchrun has started has ended, or cannot be reached "
                f"({cause}); the same command goes on from here")
        raise ConnectionError(text) from error
