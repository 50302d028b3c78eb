"""Work spread over Ray: the same results, whoever dies, joins or is slow."""

import os
import re
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from tests.configs import smoke
from tests.dreams import wide_candidates, wide_dream
from tests.episodes import write_episodes
from tests.runtime.jobs import (
    die_always,
    die_the_first_time,
    environment,
    mean,
    node,
    refuse,
    square,
    twice,
    wait_the_first_time,
)
from tests.waiting import wait_for
from world_models.collecting.shards import Origin, collect, shard_jobs
from world_models.controller.evaluator import ParallelEvaluator
from world_models.data.store import EpisodeStore
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.parcels import FileJob
from world_models.runtime.processes import OnRay, WorkerPool
from world_models.runtime.ray_cluster import ON_LOOPBACK, connect
from world_models.vae.encoding import encode
from world_models.vae.model import VAE, VAESizes

os.environ[ON_LOOPBACK] = "0"  # before Ray is imported
# A busy machine takes its time.
os.environ["RAY_worker_register_timeout_seconds"] = "300"  # noqa: SIM112
import ray
from ray.exceptions import ActorDiedError, RayTaskError

from world_models.runtime import ray_pool

TRIES = 10
STORE = 2**27
"""Bytes of a node's object store."""
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes of a CPU each, all on this machine; a test may add others."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(shutdown_at_exit=True)
    try:
        for _ in range(2):
            join(cluster)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def join(cluster):
    """Adds a node; Ray gives one only 15 s to start, which on a busy machine may be too few."""
    for attempt in range(TRIES):
        try:
            return cluster.add_node(
                num_cpus=1,
                node_ip_address="127.0.0.1",
                include_dashboard=False,
                include_log_monitor=False,
                no_monitor=True,
                object_store_memory=STORE,
            )
        except Exception as error:
            if "timed out" not in str(error) or attempt + 1 == TRIES:
                raise


@pytest.fixture
def on_ray(cluster):
    """Opens pools on the cluster; files are sent."""
    return OnRay(cluster.address, cpus=1, shared_files=False)


@pytest.fixture
def pool(on_ray):
    with closing(on_ray(1)) as pool:
        yield pool


def test_returns_are_those_of_this_machine_to_the_bit(pool):
    candidates, seeds = wide_candidates(7), [4, 7, 9]
    with closing(WorkerPool(1)) as here:
        one, other = (
            ParallelEvaluator(wide_dream, 21, 3, each).evaluate(candidates, seeds)
            for each in (here, pool)
        )
    assert one.returns.tobytes() == other.returns.tobytes()


def test_so_are_the_shards(on_ray, tmp_path):
    torch.manual_seed(0)
    vae, config = VAE(VAESizes(4)).eval(), smoke("collect", episodes=2, shard_episodes=1)
    write_episodes(tmp_path)

    def bytes_of(name, open_pool):
        folder = tmp_path / name
        jobs = shard_jobs(folder / "episodes", "pendulum", config, 1, Origin("pendulum"))
        assert len(list(collect(jobs, 1, open_pool))) == 2
        store = EpisodeStore(tmp_path / "data" / "pendulum" / "episodes")
        with closing(open_pool(1)) as pool:
            assert sum(encode(store, vae, folder / "latents", 32, pool)) == 4 * 51
        return {file.relative_to(folder): file.read_bytes() for file in folder.glob("*/*")}

    here = bytes_of("here", WorkerPool)
    assert len(here) == 4
    assert bytes_of("there", on_ray) == here


@pytest.mark.parametrize("shared_files", [True, False], ids=["shared", "sent"])
def test_files_are_read_and_written_whether_they_are_shared_or_sent(
    cluster, tmp_path, shared_files
):
    (tmp_path / "source").write_bytes(b"12345")
    jobs = [FileJob(tmp_path / "made" / name, source=tmp_path / "source") for name in "ab"]
    (tmp_path / "made").mkdir()
    with closing(OnRay(cluster.address, 1, shared_files)(1)) as pool:
        assert dict(pool.run_files(twice, jobs)) == {0: 10, 1: 10}
    assert [job.path.read_bytes() for job in jobs] == [b"1234512345"] * 2


def test_a_jobs_error_is_the_callers_and_ends_the_pool(pool):
    with pytest.raises(ValueError, match="job 1 is wrong"):
        list(pool.run(refuse, [0, 1, 2, 3]))
    with pytest.raises(RuntimeError, match="an error has ended this pool"):
        list(pool.run(square, [1, 2]))


def test_what_a_dead_worker_was_at_is_done_again(pool, tmp_path):
    jobs = [(number, tmp_path) for number in range(3)]
    assert dict(pool.run(die_the_first_time, jobs)) == {0: 0, 1: 1, 2: 4}


def test_a_job_that_costs_three_workers_is_an_error(pool):
    with pytest.raises(WorldModelsError, match="has cost 3 workers their lives"):
        list(pool.run(die_always, [1]))


def test_a_node_that_joins_is_used_and_what_it_was_at_when_it_dies_is_done_elsewhere(cluster, pool):
    assert len(list(pool.run(node, [0.1] * 6))) == 6
    third = join(cluster)

    def used():
        return third.node_id in {where for _, where in pool.run(node, [0.1] * 6)}

    wait_for(used, 300)
    left = pool.run(node, [1.0] * 9)
    done = [next(left)]  # all three are at a job now
    cluster.remove_node(third, allow_graceful=False)
    done += left
    assert sorted(number for number, _ in done) == list(range(9))
    assert third.node_id not in {where for _, where in done[-4:]}


def test_a_job_that_is_late_is_begun_elsewhere_and_the_first_answer_counts(
    pool, tmp_path, monkeypatch
):
    jobs = [(number, tmp_path) for number in (-3, 1, 2, 3)]
    assert dict(pool.run(wait_the_first_time, jobs)) == {0: 9, 1: 1, 2: 4, 3: 9}
    assert dict(pool.run(square, [5, 6])) == {0: 25, 1: 36}  # by who is not at it still
    with monkeypatch.context() as patch:
        patch.setattr(ray_pool, "PATIENCE", 0.0)
        used = {where for _, where in pool.run(node, [3.0] * 8)}
    assert len(used) == 2  # another has taken the place of who is


def test_memory_stays_flat_over_20_000_candidates(pool):
    batches = [np.full((16, 867), number, np.float32) for number in range(1300)]
    list(pool.run(mean, batches))  # Ray's own memory grows at first, by about as much
    used, most = psutil.Process().memory_info().rss, 0
    for number, result in pool.run(mean, batches):
        assert result == number
        most = max(most, psutil.Process().memory_info().rss)
    assert most - used < sum(batch.nbytes for batch in batches) / 2  # what was sent is not kept
    wait_for(lambda: ray.available_resources()["object_store_memory"] >= 2 * STORE - 2**20)


DRIVER = """
import sys
from pathlib import Path
from tests.runtime.jobs import wait_and_tidy
from world_models.runtime.parcels import FileJob
from world_models.runtime.lifetime import leave_nothing_behind
from world_models.runtime.processes import OnRay

if __name__ == "__main__":
    leave_nothing_behind()  # as each stage does
    list(OnRay(sys.argv[2] or None, 2, False)(2).run(wait_and_tidy, [Path(sys.argv[1])] * 8))
"""


def drive(folder, address=""):
    """A process whose two workers wait in vain; and the workers."""
    command = [sys.executable, "-c", DRIVER, str(folder), address]
    driver = psutil.Popen(command, env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        wait_for(lambda: driver.poll() is not None or len(list(folder.iterdir())) == 2, 300)
        assert driver.poll() is None
        pids = [int(file.name.removeprefix("begun-")) for file in folder.iterdir()]
    except BaseException:
        driver.kill()
        raise
    return driver, [psutil.Process(pid) for pid in pids]


def works(process):
    """Whether a process has not ended: who has to take note of that may take its time."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_no_worker_outlives_who_works_for(cluster, tmp_path):
    driver, workers = drive(tmp_path, cluster.address)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(map(works, workers)), 120)


def test_a_ray_of_our_own_listens_on_the_loopback_interface_and_its_workers_end_with_its_process(
    tmp_path,
):
    driver, workers = drive(tmp_path)
    family = [driver, *driver.children(recursive=True)]
    assert {*workers} < {*family}
    sockets = [socket for each in family for socket in each.net_connections()]
    listening = {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    driver.kill()
    driver.wait()
    assert listening
    assert listening <= LOOPBACK
    wait_for(lambda: not any(map(works, workers)))


def test_ctrl_c_ends_it_at_once(pool, tmp_path):
    waiting = threading.Timer(0, interrupt_when_begun, (tmp_path,))
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        list(pool.run(wait_the_first_time, [(-1, tmp_path)]))
    waiting.join()


def interrupt_when_begun(folder: Path) -> None:
    wait_for(lambda: any(folder.iterdir()), 300)
    os.kill(os.getpid(), 2)


def test_where_ray_is_missing_or_none_answers_there_is_one_line():
    said = (
        "import sys\n{}\nfrom world_models.runtime.processes import OnRay\nOnRay({}, 1, False)(1)"
    )
    for first, address, line in (
        ("sys.modules['ray'] = None", None, "needs an extra: pip install 'world-models-vmc[ray]'"),
        ("", "127.0.0.1:9", "RAY_ADDRESS: no Ray cluster answers at 127.0.0.1:9"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", said.format(first, repr(address))],
            env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert line in done.stderr.splitlines()[-1]


def test_a_cluster_of_another_version_is_one_line_that_names_both(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(WorldModelsError, match=r"mismatch: The cluster was .* with: Ray: 2\.9\.0$"):
        connect(None, 1)


@pytest.mark.parametrize("name", [ray_pool.CODE, "torch", "gymnasium"])
def test_a_worker_with_another_library_or_other_code_is_refused(name):
    here = ray_pool.versions()
    ray_pool._require_equal(here, "10.0.0.2")
    wanted = f"node 10.0.0.2 has {name} 1, and this machine {here[name]}: results would differ"
    with pytest.raises(WorldModelsError, match=re.escape(wanted)):
        ray_pool._require_equal(here | {name: "1"}, "10.0.0.2")
    with pytest.raises(WorldModelsError, match=f"has {name} nowhere, and"):
        ray_pool._require_equal({other: here[other] for other in here.keys() - {name}}, "10.0.0.2")


def test_a_worker_that_can_not_start_where_it_is_ends_the_pool_in_one_line(monkeypatch):
    monkeypatch.setattr(ray, "kill", lambda _: None)
    told = "Traceback\n  File ...\nModuleNotFoundError: No module named 'world_models'"
    error = ActorDiedError(RayTaskError("RayWorker.__init__", told, ModuleNotFoundError()))
    one, other = (ray_pool._Worker(actor=None, node=node) for node in (None, "a good one"))
    pool = ray_pool.RayPool()
    pool._workers = [one, other]
    with pytest.raises(
        WorldModelsError, match=r"^Ray's workers can't start: ModuleNotFoundError: N"
    ):
        pool._left_by(one, None, error)


def test_a_job_that_is_done_is_not_late():
    one, other = (ray_pool._Worker(actor=None) for _ in range(2))
    late = ray_pool._Task(0, None, workers={one})
    done = ray_pool._Task(1, None, workers={other}, done=True)  # elsewhere: the other hangs
    assert ray_pool._late([late, done], [0.1]) == [late]


WORKER = """
import sys
from pathlib import Path
from tests.runtime.jobs import wait_with_a_file
from world_models.runtime.parcels import FileJob, ParcelWork, pack
from world_models.runtime.ray_pool import RayWorker

job = FileJob(Path("a"), source=Path(sys.argv[1]))
RayWorker().do(ParcelWork(wait_with_a_file), pack(job), None)
"""


def test_a_worker_that_is_killed_leaves_no_file(tmp_path):
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    source.write_bytes(b"12345")
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(source)],
        env=environment() | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        text=True,
    )
    written = Path(process.stdout.readline().strip())
    assert written.read_bytes() == b"12345"
    assert written.is_relative_to(scratch)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(scratch.iterdir()))
