"""Workers on Ray: they may come late, be slow, and die; what comes of a job is the same."""

import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
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
from world_models.runtime.parcels import FileJob, ParcelWork, pack, unpack

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
    from the next `run` on. A worker that dies costs its job's time: that is done again elsewhere. A
    job that is far later than the others is begun a second time elsewhere, and the first answer
    counts. Each worker has one job at a time, so no more is on its way than there are workers.
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
        their lives, where workers have other versions of libraries than this machine, and where
        none starts; RuntimeError for a pool that an error has ended.
        """
        yield from self._run(work, jobs, lambda job: job, twice=True)

    def run_files(
        self, work: Callable[[WriterJob], Result], jobs: Sequence[WriterJob]
    ) -> Iterator[tuple[int, Result]]:
        """Does the same for jobs that write a file each, and may read one.

        Where workers don't share this machine's files, they are sent what they read, and what they
        write comes back.
        """
        if self._shared_files:  # two workers at one file would be in each other's way
            yield from self._run(work, jobs, FileJob.absolute, twice=False)
            return
        for number, parcel in self._run(ParcelWork(work), jobs, pack, twice=True):
            yield number, unpack(jobs[number], parcel)

    def _run(
        self,
        work: Callable[[Any], Any],
        jobs: Sequence[Any],
        send: Callable[[Any], Any],
        twice: bool,
    ) -> Iterator[tuple[int, Any]]:
        """Has jobs done as they are sent; twice: those that are late, elsewhere as well."""
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
                if twice and self._idle and time.monotonic() - looked > LOOK_S:
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
                elif self._done(one, answered, future):
                    assert answered is not None
                    took.append(heard - answered.started)
                    yield answered.number, future.result()
        except BaseException:
            self._over = True
            self._end()
            raise

    def _hire(self, jobs: int) -> None:
        """Starts actors where there are more CPUs than actors and jobs for them."""
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        for one in list(self._workers):
            if one.hangs or one.node not in {None, *nodes}:
                self._dismiss(one)
        cpus = sum(int(node["Resources"].get("CPU", 0)) for node in nodes.values())
        actor = ray.remote(num_cpus=1)(RayWorker)
        for _ in range(min(jobs, max(cpus, 1)) - len(self._workers)):
            one = _Worker(actor.remote())
            self._workers.append(one)
            self._await(one, None, one.actor.ready.remote())

    def _begin(self, task: _Task, work: Callable[[Any], Any], job: Any, make: Any) -> None:
        one = self._idle.pop()
        one.at = task
        task.workers.add(one)
        task.started = time.monotonic()
        self._await(one, task, one.actor.do.remote(work, job, make))

    def _await(self, one: _Worker, task: _Task | None, answer: Any) -> None:
        answer.future().add_done_callback(lambda future: self._answers.put((one, task, future)))

    def _done(self, one: _Worker, task: _Task | None, future: Future[Any]) -> bool:
        """Takes note of an answer, and says whether it is a job's first; raises a job's error."""
        error, one.at = future.exception(), None
        if task is not None:
            task.workers.discard(one)
        elif error is None:
            one.node, address, found = future.result()
            _require_equal(found, address)
        if not one.gone:
            self._idle.append(one)
        if task is not None and task.done:
            return False  # another was quicker
        if error is not None:
            raise _own(error) from error
        if task is not None:
            task.done = True
        return task is not None

    def _left_by(
        self, one: _Worker, task: _Task | None, error: BaseException | None
    ) -> list[_Task]:
        """Lets a worker go that has died, and returns the job that nobody does any more, if any."""
        self._dismiss(one)
        if getattr(error, "actor_init_failed", False):  # and so would the next there
            raise WorldModelsError(f"Ray's workers can't start: {str(error).splitlines()[-1]}")
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
        closing = [one.actor.close.remote() for one in self._idle]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=PATIENCE)
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


def _require_equal(found: Mapping[str, str], address: str) -> None:
    for name, here in versions().items():
        if found.get(name) != here:
            raise WorldModelsError(
                f"Ray's node {address} has {name} {found.get(name, 'nowhere')}, and this machine "
                f"{here}: results would differ"
            )
