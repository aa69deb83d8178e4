"""Items on the workers of a Dask cluster: given out one by one, taken back when one is lost.

A task goes to one worker at a time, and the next when that has answered: so a worker that
died, hangs or holds another version of the program is known by its address, and what it had is
given to another. Tasks must not mind being done twice: their files are complete or not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hmavel import __version__
from hmavel.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

logger = logging.getLogger(__name__)

#: Workers that an item may lose before it is given up: it may be what kills them.
_LOSSES = 3
#: Seconds to wait for a scheduler, for one that went away, and for a first worker.
CONNECT, RECONNECT, FIRST_WORKER = 30.0, 300.0, 300.0


class LostError(RunError):
    """An item lost every worker that it was given to."""


@dataclass
class _Task:
    future: Any  #: Dask's
    index: int = -1  #: of its item
    begun: float = field(default_factory=time.monotonic)
    answer: Any = None  #: on its way from the worker: to wait for it is to hang with the worker


@dataclass
class _Worker:
    address: str
    slots: int
    probe: _Task | None  #: tells version, host and process
    name: tuple[str, int] = ("", 0)  #: host and process, when known
    refused: str = ""  #: why it is not used
    running: list[_Task] = field(default_factory=list)
    sign: Any = None  #: the last sign of life that was seen
    seen: float = 0.0  #: when it was first seen


@dataclass(frozen=True)
class Cluster:
    """Where to work, and when to take a worker for lost."""

    scheduler: str  #: "tcp://host:port", or "local" for workers on this machine
    jobs: int = 1  #: workers of "local"
    patience: float = 3600.0  #: seconds without a sign of life after which a worker hangs
    #: (host, process) -> what is another value whenever it gave one. By the driver's clock that
    #: nobody sets: those of workers and file servers may go wrong by days.
    sign_of_life: Callable[[str, int], Any] = lambda _host, _process: None
    load: str = "hmavel"  #: module that a worker imports before its first task


def run_on(
    cluster: Cluster, attempt: Callable[[int, Any], tuple[int, Any]], items: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    """Yield what ``attempt(index, item)`` returns on a worker, as items are finished.

    Parameters
    ----------
    cluster
        Where.
    attempt, items
        To be sent to the workers; ``attempt`` does not raise. In the place of its answer an
        item that lost its worker three times yields ``(index, LostError)``.

    Raises
    ------
    RunError
        Dask is not installed; no scheduler answers; every worker is of another version; the
        scheduler went away and did not come back.
    """
    distributed = _distributed()
    with contextlib.ExitStack() as stack:
        address = cluster.scheduler
        if address == "local":
            local = distributed.LocalCluster(
                n_workers=cluster.jobs, threads_per_worker=1, dashboard_address=None
            )
            address = stack.enter_context(local).scheduler_address
        left = deque((index, item) for index, item in enumerate(items))
        losses: dict[int, int] = {}
        patience = CONNECT
        while left:
            client = _connect(distributed, address, patience)
            patience = RECONNECT
            session = _Session(client, cluster, attempt, left, losses)
            try:
                yield from session.run()
            except _SchedulerGone:
                logger.warning("the scheduler at %s went away; waiting for it", address)
            finally:
                session.take_back()
                with contextlib.suppress(Exception):
                    client.close(timeout=5)


class _SchedulerGone(Exception):  # noqa: N818 - not an error of the run, while it may return
    pass


class _Session:
    """The time that one connection to the scheduler lasts."""

    def __init__(
        self,
        client: Any,
        cluster: Cluster,
        attempt: Callable[[int, Any], tuple[int, Any]],
        left: deque[tuple[int, Any]],
        losses: dict[int, int],
    ) -> None:
        self.client, self.cluster, self.attempt = client, cluster, attempt
        self.left, self.losses = left, losses
        self.items: dict[int, Any] = {}  #: those that are with a worker
        self.workers: dict[str, _Worker] = {}
        self.begun = time.monotonic()

    def run(self) -> Iterator[tuple[int, Any]]:
        while self.left or self.items:
            self._look_at_workers()
            self._give_out()
            progress = False
            for worker in list(self.workers.values()):
                for task in [one for one in worker.running if self._answered(one)]:
                    worker.running.remove(task)
                    yield from self._answer(task)
                    progress = True
            yield from self._lost_too_often()
            if not progress:
                time.sleep(0.1)

    def take_back(self) -> None:
        """Put what is with the workers back to what is left to do."""
        for index, item in sorted(self.items.items(), reverse=True):
            self.left.appendleft((index, item))
        self.items.clear()
        for worker in self.workers.values():
            worker.running.clear()

    def _answered(self, task: _Task) -> bool:
        """Whether a task failed, or its answer has come; asks for it when the task is done."""
        if task.answer is None:
            if not task.future.done():
                return False
            if task.future.status != "finished":
                return True
            task.answer = asyncio.run_coroutine_threadsafe(
                self._fetch(task.future.key), self.client.loop.asyncio_loop
            )
        return bool(task.answer.done())

    async def _fetch(self, key: Any) -> Any:
        """Fetch one answer alone: `Client.gather` asks for several at once, all or none."""
        reply = await self.client.scheduler.gather(keys=[key])
        if reply["status"] != "OK":
            raise KeyError(f"{key}: {reply}")
        return reply["data"][key]

    def _answer(self, task: _Task) -> Iterator[tuple[int, Any]]:
        if task.answer is None:  # the attempt itself does not raise: it was the worker
            self._lose(task.index, f"its worker gave it up ({task.future.status})")
            return
        try:
            answer = task.answer.result()
        except Exception as error:  # it was with a worker that died since
            logger.debug("result of item %d", task.index, exc_info=True)
            self._lose(task.index, f"its result was lost ({error!r})")
        else:
            self.items.pop(task.index)
            yield answer

    def _lose(self, index: int, why: str) -> None:
        if index not in self.items:
            return
        logger.warning("item %d: %s; it is given to another worker", index, why)
        self.losses[index] = self.losses.get(index, 0) + 1
        self.left.append((index, self.items.pop(index)))

    def _lost_too_often(self) -> Iterator[tuple[int, Any]]:
        for index, item in [one for one in self.left if self.losses.get(one[0], 0) >= _LOSSES]:
            self.left.remove((index, item))
            yield (
                index,
                LostError(
                    "run", f"item {index}", expected="a worker that finishes it",
                    got=f"{_LOSSES} that died or hung", hint="give the workers more memory",
                ),
            )

    def _give_out(self) -> None:
        for worker in self.workers.values():
            while self.left and not worker.refused and len(worker.running) < worker.slots:
                if not worker.name[1]:
                    break  # not asked yet
                index, item = self.left.popleft()
                self.items[index] = item
                future = self.client.submit(
                    self.attempt, index, item, workers=[worker.address],
                    allow_other_workers=False, pure=False, retries=0,
                )
                worker.running.append(_Task(future, index))

    def _look_at_workers(self) -> None:
        if self.client.status != "running":
            raise _SchedulerGone
        try:
            there = self.client.scheduler_info(n_workers=-1)["workers"]
        except TypeError:  # before n_workers
            there = self.client.scheduler_info()["workers"]
        for address, facts in there.items():
            if address not in self.workers:
                who = _who(__version__, self.cluster.load)
                probe = self.client.submit(
                    who, workers=[address], allow_other_workers=False, pure=False
                )
                self.workers[address] = _Worker(address, int(facts["nthreads"]), _Task(probe))
        for address in set(self.workers) - set(there):
            self._drop(self.workers.pop(address), "its worker is gone")
        for worker in self.workers.values():
            self._ask(worker)
            self._watch(worker)
        self._require_workers()

    def _ask(self, worker: _Worker) -> None:
        probe = worker.probe
        if probe is None or not self._answered(probe):
            return
        worker.probe = None
        if probe.answer is None:
            worker.refused = f"it has no hmavel ({probe.future.exception(timeout=10)!r})"
        else:
            try:
                version, host, process = probe.answer.result()
            except Exception as error:  # it died since
                worker.refused = f"it did not say who it is ({error!r})"
            else:
                worker.name = host, process
                if version != __version__:
                    worker.refused = f"it has hmavel {version}, this is {__version__}"
        if worker.refused:
            logger.warning("worker %s is not used: %s", worker.address, worker.refused)

    def _watch(self, worker: _Worker) -> None:
        if not worker.running:
            return
        now, sign = time.monotonic(), self.cluster.sign_of_life(*worker.name)
        if sign != worker.sign:
            worker.sign, worker.seen = sign, now
        for task in worker.running:
            silent = now - max(task.begun, worker.seen)
            if silent > self.cluster.patience:
                worker.refused = f"it gave no sign of life for {silent:.0f} s"
                logger.warning("worker %s: %s", worker.address, worker.refused)
                self._drop(worker, "its worker hangs")
                return

    def _drop(self, worker: _Worker, why: str) -> None:
        for task in worker.running:
            if task.answer is not None:
                task.answer.cancel()
            with contextlib.suppress(Exception):
                self.client.cancel([task.future], force=True)
            self._lose(task.index, why)
        worker.running.clear()

    def _require_workers(self) -> None:
        now = time.monotonic()
        usable = [w for w in self.workers.values() if w.name[1] and not w.refused]
        unknown = [
            w for w in self.workers.values() if w.probe and now - w.probe.begun < FIRST_WORKER
        ]
        if usable or unknown:
            self.begun = now
            return
        silent = f"it did not say who it is for {FIRST_WORKER:.0f} s"
        refused = [f"{w.address}: {w.refused or silent}" for w in self.workers.values()]
        if refused or now - self.begun > FIRST_WORKER:
            raise RunError(
                "run", self.cluster.scheduler, expected="a worker of this version of hmavel",
                got="; ".join(refused) or f"none in {FIRST_WORKER:.0f} s",
                hint="install the same version everywhere, start workers, run again to go on",
            )


def _who(wanted: str, load: str) -> Callable[[], tuple[str, str, int]]:
    """Return a function that travels as code: the worker's hmavel may not have this module."""

    def who() -> tuple[str, str, int]:
        import importlib
        import os
        import socket

        import hmavel

        version = hmavel.__version__
        if version == wanted:  # loading takes seconds, and is no silence of the first task
            importlib.import_module(load)
        return version, socket.gethostname(), os.getpid()

    return who


def _connect(distributed: Any, address: str, patience: float) -> Any:
    end = time.monotonic() + patience
    while True:
        try:
            brief = min(patience, 10.0)
            return distributed.Client(address, timeout=brief, set_as_default=False)
        except (OSError, ValueError) as error:
            if time.monotonic() > end or isinstance(error, ValueError):
                raise RunError(
                    "run", address, expected="a Dask scheduler", got=str(error),
                    hint="start one (dask scheduler) and give its address: tcp://host:8786",
                ) from error
            time.sleep(1.0)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise RunError(
            "run", "--scheduler", expected="Dask", got="no such package",
            hint="pip install 'hmavel[dask]'",
        ) from error
    return distributed
