"""Workers on Ray: they may come late, be slow, and die; what comes of a job is the same."""

import re
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import md5
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from world_models.runtime import worker
from world_models.runtime.errors import DISTRIBUTION, WorldModelsError, one_line
from world_models.runtime.parcels import (
    FileJob,
    ParcelWork,
    SharedWork,
    pack,
    put_in_place,
    remove_attempts,
    unpack,
)

Job = TypeVar("Job")
Result = TypeVar("Result")
WriterJob = TypeVar("WriterJob", bound=FileJob)
PATIENCE = 300.0
"""Seconds in which a worker has to start, or to close what it holds."""
LOOK_S = 0.5
"""Seconds between two looks for jobs that are late."""
LATE = 3.0
"""A job is late that takes so many times as long as half of the others did ..."""
LATE_S = 2.0
"""... and so many seconds at least."""
DEATHS = 3
"""Workers that one job may cost: more are its own doing."""
LIBRARIES = (
    *(DISTRIBUTION, "numpy", "torch", "zarr"),
    *("gymnasium", "pygame", "pygame-ce", "Box2D", "envpool", "vizdoom"),
)
"""Another version of one of these computes something else."""
CODE = "code of world_models"
"""What may differ in two checkouts of one version."""
PACKAGE = Path(__file__).parents[1]
NODE = "ray.io/node-id"
"""The label that Ray gives each node."""


class RayWorker:
    """An actor: a process that does one job at a time, with one thread, and keeps its handlers."""

    def __init__(self) -> None:
        if sys.platform == "linux":
            from world_models.runtime.lifetime import leave_nothing_behind

            # Ray kills an actor, but nothing that it has started, and removes none of its files.
            tempfile.tempdir = tempfile.mkdtemp(prefix="world-models-ray-")
            leave_nothing_behind(Path(tempfile.tempdir))

    def ready(self) -> tuple[str, str, dict[str, str]]:
        """Returns its node and the node's address, and what is installed there."""
        node = ray.get_runtime_context().get_node_id()
        return node, ray.util.get_node_ip_address(), versions()

    def do(self, work: Callable[[Any], Any], job: Any, make: np.ndarray | None) -> Any:
        """Does a job; `make` is the pickled way to make the handler that it needs, if any."""
        if make is not None:
            name = work.name  # type: ignore[attr-defined]
            if name not in worker.factories:
                worker.add_factory(name, make.tobytes(), 0)
        return work(job)

    def close(self) -> None:
        """Closes all handlers."""
        worker.close_handlers(list(worker.factories))


@cache
def versions() -> dict[str, str]:
    """Returns which versions are installed here of what results hang on, as far as it is."""
    found, code = {}, md5()
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    for file in sorted(PACKAGE.rglob("*.py")):
        code.update(f"{file.relative_to(PACKAGE)} ".encode() + file.read_bytes())
    return found | {CODE: code.hexdigest()[:12]}


@dataclass(eq=False)
class _Worker:
    """An actor as its pool knows it."""

    actor: Any
    node: str | None = None
    """None until it has started."""
    at: "_Task | None" = None
    gone: bool = False

    @property
    def hangs(self) -> bool:
        """Whether it is still at a job that another was begun with long ago, and has done."""
        at = self.at
        return at is not None and at.done and time.monotonic() - at.started > PATIENCE


@dataclass(eq=False)
class _Task:
    """A job on its way."""

    number: int
    job: Any
    started: float = 0.0
    workers: set[_Worker] = field(default_factory=set)
    """Those that are at it: two where the first was late."""
    deaths: int = 0
    done: bool = False


class RayPool:
    """What `WorkerPool` is, on the Ray that this process is connected to.

    As many actors work as the cluster has CPUs, or as there are jobs; a node that joins is used
    from the next `run` on. A node that would compute something else is left out, which stderr says
    once. A worker that dies costs its job's time: that is done again elsewhere. A job that is far
    later than the others is begun a second time elsewhere, and the first answer counts. Each worker
    has one job at a time, so no more is on its way than there are workers.
    """

    def __init__(self, shared_files: bool = False, code: ModuleType | None = None) -> None:
        """Nothing starts before the first job.

        Args:
            shared_files: workers read and write this machine's files themselves, by their paths.
            code: of a package that workers may lack; what handlers need of it is sent to them.
        """
        self._shared_files, self._over = shared_files, False
        if code is not None:
            cloudpickle.register_pickle_by_value(code)
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._left_out: set[str] = set()
        self._stillborn = 0
        self._factories: dict[str, ray.ObjectRef[np.ndarray]] = {}
        self._answers: SimpleQueue[tuple[_Worker, _Task | None, Future[Any]]] = SimpleQueue()

    def open(self, make: Callable[[], worker.Handler[Job, Result]]) -> Callable[[Job], Result]:
        """Has each worker make a handler for itself when it first needs it.

        Returns work for `run`. It is sent to a node once, whatever its size.
        """
        reference = worker.HandlerReference(uuid4().hex)
        # An array lies in a node's shared memory, from where each worker reads it.
        packed = np.frombuffer(cloudpickle.dumps(make), np.uint8)
        self._factories[reference.name] = ray.put(packed)
        return reference

    def run(
        self, work: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[tuple[int, Result]]:
        """Has every job done, and yields (number of the job, result) as they end.

        A job's own error is the caller's. Raises WorldModelsError where a job costs several workers
        their lives, where all nodes have other versions of libraries than this machine, and where
        no worker starts; RuntimeError for a pool that an error has ended.
        """
        yield from self._run(work, jobs, lambda job: job)

    def run_files(
        self, work: Callable[[WriterJob], Result], jobs: Sequence[WriterJob]
    ) -> Iterator[tuple[int, Result]]:
        """Does the same for jobs that write a file each, and may read one.

        Where workers don't share this machine's files, they are sent what they read, and what they
        write comes back.
        """
        if self._shared_files:
            yield from self._run_shared(work, jobs)
            return
        for number, parcel in self._run(ParcelWork(work), jobs, pack):
            yield number, unpack(jobs[number], parcel)

    def _run_shared(
        self, work: Callable[[WriterJob], Result], jobs: Sequence[WriterJob]
    ) -> Iterator[tuple[int, Result]]:
        """Each worker writes a file of its own; the first one of a job's is put in its place."""
        remove_attempts(jobs)  # of a process that was killed
        try:
            with closing(self._run(SharedWork(work), jobs, FileJob.absolute)) as answers:
                for number, (result, written) in answers:
                    put_in_place(jobs[number], written)
                    yield number, result
        finally:
            for one in [one for one in self._workers if one.at is not None]:
                self._dismiss(one)  # it is at what another has done
            remove_attempts(jobs)

    def _run(
        self,
        work: Callable[[Any], Any],
        jobs: Sequence[Any],
        send: Callable[[Any], Any],
    ) -> Generator[tuple[int, Any]]:
        """Has jobs done as they are sent; those that are late, elsewhere as well."""
        if self._over:
            raise RuntimeError("an error has ended this pool")
        make = self._factories.get(getattr(work, "name", ""))
        tasks = [_Task(number, job) for number, job in enumerate(jobs)]
        queue, took = deque(tasks), list[float]()

        def begin(task: _Task) -> None:
            self._begin(task, work, send(task.job), make)

        try:
            self._hire(len(tasks))
            heard = looked = time.monotonic()
            while len(took) < len(tasks):
                while queue and self._idle:
                    begin(queue.popleft())
                if self._idle and time.monotonic() - looked > LOOK_S:
                    looked = time.monotonic()
                    for task in _late(tasks, took)[: len(self._idle)]:
                        begin(task)
                try:
                    one, answered, future = self._answers.get(timeout=LOOK_S)
                except Empty:
                    if time.monotonic() - heard > PATIENCE:
                        self._require_workers()
                        self._hire(len(tasks) - len(took))
                        heard = time.monotonic()
                    continue
                heard = time.monotonic()
                if _died(future):
                    queue.extendleft(self._left_by(one, answered, future.exception()))
                    self._hire(len(tasks) - len(took))
                elif answered is None:
                    if not self._is_welcome(one, future):
                        self._hire(len(tasks) - len(took))
                elif self._done(one, answered, future):
                    took.append(heard - answered.started)
                    yield answered.number, future.result()
        except BaseException:
            self._over = True
            self._end()
            raise

    def _hire(self, jobs: int) -> None:
        """Starts actors where there are more CPUs than actors and jobs for them."""
        cpus = self._cpus()
        for one in list(self._workers):
            if one.hangs or one.node not in {None, *cpus}:
                self._dismiss(one)
        elsewhere = {NODE: f"!in({', '.join(self._left_out)})"} if self._left_out else {}
        actor = ray.remote(num_cpus=1, label_selector=elsewhere)(RayWorker)
        for _ in range(min(jobs, max(sum(cpus.values()), 1)) - len(self._workers)):
            one = _Worker(actor.remote())
            self._workers.append(one)
            self._await(one, None, one.actor.ready.remote())

    def _cpus(self) -> dict[str, int]:
        """Returns how many CPUs each node has that is not left out."""
        return {
            node["NodeID"]: int(node["Resources"].get("CPU", 0))
            for node in ray.nodes()
            if node["Alive"] and node["NodeID"] not in self._left_out
        }

    def _begin(self, task: _Task, work: Callable[[Any], Any], job: Any, make: Any) -> None:
        one = self._idle.pop()
        one.at = task
        task.workers.add(one)
        task.started = time.monotonic()
        self._await(one, task, one.actor.do.remote(work, job, make))

    def _await(self, one: _Worker, task: _Task | None, answer: Any) -> None:
        answer.future().add_done_callback(lambda future: self._answers.put((one, task, future)))

    def _is_welcome(self, one: _Worker, ready: Future[Any]) -> bool:
        """Has a worker that has started wait for jobs, unless it would do them differently."""
        if error := ready.exception():
            raise _own(error) from error
        node, address, found = ready.result()
        one.node = node
        different = _difference(found)
        if different is not None:
            self._leave_out({node}, address, different)
            self._dismiss(one)
        elif not one.gone:
            self._idle.append(one)
        return different is None

    def _leave_out(self, nodes: set[str], address: str, fault: str) -> None:
        """Uses these nodes no more, and says why; raises WorldModelsError where none is left."""
        if nodes <= self._left_out:
            return
        self._left_out |= nodes
        line = f"Ray's node {address} is left out: {fault}"
        if not any(self._cpus().values()):
            raise WorldModelsError(f"{line}; there is no other")
        print(line, file=sys.stderr)

    def _done(self, one: _Worker, task: _Task, future: Future[Any]) -> bool:
        """Takes note of an answer, and says whether it is a job's first; raises a job's error."""
        error, one.at = future.exception(), None
        task.workers.discard(one)
        if not one.gone:
            self._idle.append(one)
        if task.done:
            return False  # another was quicker
        if error is not None:
            raise _own(error) from error
        task.done = True
        return True

    def _left_by(
        self, one: _Worker, task: _Task | None, error: BaseException | None
    ) -> list[_Task]:
        """Lets a worker go that has died, and returns the job that nobody does any more, if any."""
        self._dismiss(one)
        if getattr(error, "actor_init_failed", False):  # and so would the next there
            self._leave_out_that_of(str(error))
            return []
        if task is None and all(other.node is None for other in self._workers):
            self._stillborn += 1
            if self._stillborn >= DEATHS:
                raise WorldModelsError(f"Ray's workers die as they start: {one_line(error)}")
        if task is None:
            return []
        task.workers.discard(one)
        task.deaths += 1
        if task.done or task.workers:
            return []
        if task.deaths >= DEATHS:
            raise WorldModelsError(
                f"a job has cost {DEATHS} workers their lives, one after the other (out of memory?)"
            )
        return [task]

    def _leave_out_that_of(self, error: str) -> None:
        """Leaves out the node that a worker can't start on, as Ray's message has its address."""
        found, fault = re.search(r"\bip=([^,)\s]+)", error), error.splitlines()[-1]
        address = found[1] if found else ""
        nodes = {node["NodeID"] for node in ray.nodes() if node["NodeManagerAddress"] == address}
        if not nodes:
            raise WorldModelsError(f"Ray's workers can't start: {fault}")
        self._leave_out(nodes, address, f"no worker can start there ({fault})")

    def _dismiss(self, one: _Worker) -> None:
        one.gone = True
        for place in (self._workers, self._idle):
            with suppress(ValueError):
                place.remove(one)
        ray.kill(one.actor)

    def _require_workers(self) -> None:
        if all(one.node is None for one in self._workers):
            raise WorldModelsError(
                f"no worker has started for {PATIENCE:.0f} s: has the Ray cluster a free CPU?"
            )

    def close(self) -> None:
        """Ends the actors, once the idle ones have closed their handlers."""
        closed = [one.actor.close.remote() for one in self._idle]
        if closed:
            ray.wait(closed, num_returns=len(closed), timeout=PATIENCE)
        self._end()
        self._factories.clear()

    def _end(self) -> None:
        for one in list(self._workers):
            self._dismiss(one)


def _died(future: Future[Any]) -> bool:
    """Whether a worker has died, or what it answered is lost with its node."""
    error = future.exception()
    return isinstance(error, RayError) and not isinstance(error, RayTaskError)


def _own(error: BaseException) -> BaseException:
    """What a job has raised, as its caller is to see it."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, ModuleNotFoundError):
        return WorldModelsError(f"a worker of Ray's: {cause}: has its node the same code?")
    return cause


def _late(tasks: Sequence[_Task], took: Sequence[float]) -> list[_Task]:
    """Returns the jobs that one worker alone is at for far longer than half of all jobs took."""
    if 2 * len(took) < len(tasks):
        return []
    limit = max(LATE * statistics.median(took), LATE_S)
    before = time.monotonic() - limit
    return [
        task for task in tasks if not task.done and len(task.workers) == 1 and task.started < before
    ]


def _difference(found: Mapping[str, str]) -> str | None:
    """Says by what a worker would come to other results than this machine, if by anything."""
    for name, here in versions().items():
        there = found.get(name, "nowhere")
        if there != here:
            return f"it has {name} {there}, and this machine {here}: results would differ"
    return None
