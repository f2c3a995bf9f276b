"""Pricing on a Dask cluster, whose workers may come and go."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from mcusim import __version__
from mcusim.errors import InputError
from mcusim.sweep.pricing import Job, priced
from mcusim.sweep.store import Row

__all__ = ["on_cluster"]

#: Jobs that wait for each thread of the cluster, so that none is idle.
_JOBS_A_THREAD = 3
#: Jobs that wait while the cluster is small, for workers that come.
_LEAST_JOBS = 16
#: Dask gives up on a job after it has outlived a few workers. Workers may go for reasons of their
#: own, so that it is tried again, but not for ever: a job may be what ends them.
_MOST_TRIES = 5
_CONNECT_S = 10
_ADDRESS = re.compile(r"(\w+://)?\S+:\d+")


def on_cluster(jobs: Iterator[Job], scheduler: str) -> Iterator[list[Row]]:
    """Rows of jobs, as they are done.

    Args:
        jobs: submitted as the cluster finishes others.
        scheduler: its address, such as ``"tcp://host:8786"``.

    Raises:
        InputError: Dask is not installed, nothing answers at the address, or the cluster is lost.
    """
    try:
        from distributed import CancelledError, Client, KilledWorker, as_completed
        from distributed.comm.core import CommClosedError
    except ImportError:
        raise InputError("--scheduler needs Dask: pip install 'mcusim[dask]'") from None
    if not _ADDRESS.fullmatch(scheduler):
        raise InputError(f"{scheduler!r} is no address of a scheduler, such as tcp://host:8786")
    # A lost scheduler is told as a sentence below.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    with client:
        running = {}

        def submit(job: Job, tries: int = 1) -> object:
            future = client.submit(priced, job, pure=False)
            running[future.key] = (job, tries)
            return future

        def room() -> int:
            threads: int = sum(client.nthreads().values())
            return max(_LEAST_JOBS, _JOBS_A_THREAD * threads)

        try:
            first = [submit(job) for _, job in zip(range(room()), jobs, strict=False)]
            finished = as_completed(first, loop=client.loop)
            for future in finished:
                job, tries = running.pop(future.key)
                try:
                    rows = future.result()
                except KilledWorker:
                    if tries == _MOST_TRIES:
                        raise InputError(
                            f"workers at {scheduler} end while they price "
                            f"{job.points[0].candidate.text!r} or what follows it"
                        ) from None
                    finished.add(submit(job, tries + 1))
                    continue
                yield rows
                for _ in range(room() - len(running)):
                    following = next(jobs, None)
                    if following is None:
                        break
                    finished.add(submit(following))
        except (AttributeError, ImportError, RuntimeError) as error:
            raise InputError(
                f"a worker at {scheduler} cannot price, for which it needs mcusim {__version__}: "
                f"{error}"
            ) from None
        except (CancelledError, CommClosedError, OSError):
            raise InputError(
                f"the Dask scheduler at {scheduler} is gone; the same command goes on where it was"
            ) from None
