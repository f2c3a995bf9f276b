"""Prices every point of a space that is not in the store yet: on processes, or on a cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_any

from mcusim.errors import InputError
from mcusim.sweep.pricing import Job, Point, priced
from mcusim.sweep.space import Space
from mcusim.sweep.store import Row, Store

__all__ = ["Outcome", "sweep"]

#: Points that a worker prices at a time: about a quarter of a second, all that killing loses.
_POINTS_A_JOB = 64
#: Jobs that wait for each process, so that none is idle.
_JOBS_A_WORKER = 3


@dataclass(frozen=True)
class Outcome:
    """What a sweep did.

    Attributes:
        priced: points that were priced now.
        refused: how many of them a sentence refuses.
        known: points that the store had already.
    """

    priced: int
    refused: int
    known: int


def sweep(
    space: Space,
    store: Store,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    advance: Callable[[int], None] = lambda points: None,
) -> Outcome:
    """Price the points that the store lacks.

    Processes are spawned: a script that calls this does so below
    ``if __name__ == "__main__":``.

    Args:
        space: what to price.
        store: where rows go, job by job, and which points it need not price.
        workers: processes; as many as this process may use cores when None. One works here.
        scheduler: address of a Dask scheduler, such as ``"tcp://host:8786"``, whose workers price
            in the place of processes.
        advance: told of points that are done.

    Raises:
        InputError: settings are wrong, the store cannot be written, or workers are lost.
        ModelError: there is no such model.
        BoardError: there is no such board.
    """
    settings = space.settings()
    packed = pickle.dumps(settings)
    known = 0

    def jobs() -> Iterator[Job]:
        nonlocal known
        waiting: list[Point] = []
        for points in space.points(settings):
            there = store.known([point.key for point in points])
            known += len(there)
            advance(len(there))
            waiting += [point for point in points if point.key not in there]
            while len(waiting) >= _POINTS_A_JOB:
                yield Job(tuple(waiting[:_POINTS_A_JOB]), packed)
                del waiting[:_POINTS_A_JOB]
        if waiting:
            yield Job(tuple(waiting), packed)

    done = refused = 0
    for rows in _results(jobs(), workers, scheduler):
        store.add(rows)
        done += len(rows)
        refused += sum(bool(row.error) for row in rows)
        advance(len(rows))
    return Outcome(done, refused, known)


def _results(
    jobs: Iterator[Job], workers: int | None, scheduler: str | None
) -> Iterator[list[Row]]:
    if scheduler is not None:
        from mcusim.sweep.cluster import on_cluster

        return on_cluster(jobs, scheduler)
    count = _cores() if workers is None else workers
    if count < 1:
        raise InputError(f"a sweep needs 1 worker or more, not {count}")
    return map(priced, jobs) if count == 1 else _on_processes(jobs, count)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _on_processes(jobs: Iterator[Job], workers: int) -> Iterator[list[Row]]:
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_follow_parent
    )
    pending: set[Future[list[Row]]] = set()
    try:
        for job in jobs:
            pending.add(pool.submit(priced, job))
            if len(pending) >= _JOBS_A_WORKER * workers:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed, perhaps for want of memory; the same command goes on "
            "where it was"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leave interrupts to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def follow() -> None:
        wait_for_any([sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
