"""Work spread over Ray: the same results, whoever dies, joins or is slow."""

import os
import re
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from tests.configs import smoke
from tests.dreams import WIDE, slow_dream, wide_dream
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
    write_late,
)
from tests.waiting import stderr, wait_for
from world_models.collecting.shards import Origin, collect, shard_jobs
from world_models.controller.evaluator import ParallelEvaluator
from world_models.controller.policy import ControllerSizes
from world_models.controller.search import evolve
from world_models.data.store import EpisodeStore
from world_models.runtime.errors import WorldModelsError
from world_models.runtime.parcels import ATTEMPT, FileJob
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
SIZES = ControllerSizes(WIDE, 1, bias=True, cell=False)
CONFIG = smoke("controller", population=8, episodes=2, generations=4, batches=8)


@pytest.fixture(scope="module")
def home():
    """Where all Rays have their files; its name is short, as a socket's has to be."""
    with (
        TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(home):
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


def join(cluster, cpus=1, **more):
    """Adds a node; Ray gives one only 15 s to start, which on a busy machine may be too few."""
    for attempt in range(TRIES):
        try:
            return cluster.add_node(
                num_cpus=cpus,
                node_ip_address="127.0.0.1",
                include_dashboard=False,
                include_log_monitor=False,
                no_monitor=True,
                object_store_memory=STORE,
                **more,
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


def shards(folder, pool):
    """Collects and encodes, and returns the bytes of all files."""
    torch.manual_seed(0)
    vae, config = VAE(VAESizes(4)).eval(), smoke("collect", episodes=4, shard_episodes=1)
    write_episodes(folder)
    jobs = shard_jobs(folder / "made" / "episodes", "pendulum", config, 1, Origin("pendulum"))
    lent = SimpleNamespace(open=pool.open, run_files=pool.run_files, close=lambda: None)
    assert len(list(collect(jobs, 1, lambda _: lent))) == 4
    store = EpisodeStore(folder / "data" / "pendulum" / "episodes")
    assert sum(encode(store, vae, folder / "made" / "latents", 32, pool)) == 4 * 51
    return {file.relative_to(folder): file.read_bytes() for file in folder.glob("made/*/*")}


def evaluator(pool, dream=wide_dream):
    return ParallelEvaluator(dream, CONFIG.population * CONFIG.episodes, CONFIG.batches, pool)


def bytes_of(generation):
    """What its candidates returned, and C."""
    return generation.returns.tobytes(), generation.mean.parameters.numpy().tobytes()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What this machine comes to."""
    with closing(WorkerPool(1)) as pool:
        playing = evaluator(pool)
        generations = evolve(lambda _: playing, None, SIZES, CONFIG, seed=1)
        evolution = [*map(bytes_of, generations)]
        files = shards(tmp_path_factory.mktemp("here"), pool)
    assert len(files) == 6
    return SimpleNamespace(evolution=evolution, shards=files)


@pytest.mark.parametrize("workers", [1, 2])
def test_evolution_and_shards_are_those_of_this_machine_to_the_bit(
    workers, pool, here, tmp_path, monkeypatch
):
    cpus = ray_pool.RayPool._cpus

    def some_of(pool):
        return {node: int(number < workers) for number, node in enumerate(cpus(pool))}

    monkeypatch.setattr(ray_pool.RayPool, "_cpus", some_of)
    playing = evaluator(pool)
    found = [*map(bytes_of, evolve(lambda _: playing, None, SIZES, CONFIG, seed=1))]
    assert found == here.evolution
    assert shards(tmp_path, pool) == here.shards
    assert len(pool._workers) == workers


def test_they_are_also_where_a_node_joins_in_mid_generation_and_dies_in_another(
    cluster, pool, here, tmp_path
):
    third = []

    def run_beside_a_join(work, jobs):
        answers = pool.run(work, jobs)
        yield next(answers)
        third.append(join(cluster, cpus=2))
        yield from answers

    def kill_at_work():
        wait_for(
            lambda: any(one.node == third[0].node_id and one.at for one in [*pool._workers]), 300
        )
        cluster.remove_node(third[0], allow_graceful=False)

    def used():
        return {where for _, where in pool.run(node, [0.2] * 8)}

    usual = evaluator(pool)
    joining = evaluator(SimpleNamespace(open=pool.open, run=run_beside_a_join))
    playing = {1: usual, 2: joining, 3: evaluator(pool, slow_dream), 4: usual}
    generations = evolve(playing.__getitem__, None, SIZES, CONFIG, seed=1)
    found = [next(generations), next(generations)]
    assert third[0].node_id not in {one.node for one in pool._workers}
    wait_for(lambda: third[0].node_id in used(), 300)  # from then on
    assert len(pool._workers) == 4
    assert shards(tmp_path, pool) == here.shards
    killing = threading.Thread(target=kill_at_work)
    killing.start()
    found += generations
    killing.join()
    assert [*map(bytes_of, found)] == here.evolution
    assert third[0].node_id not in used()


def test_a_node_with_another_library_is_left_out_and_named_once(cluster, pool, tmp_path):
    metadata = tmp_path / "numpy-0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    other = join(cluster, cpus=2, env_vars={"PYTHONPATH": paths})
    used = set[str]()

    def named():
        used.update(where for _, where in pool.run(node, [0.2] * 8))
        return "left out" in said.getvalue()

    try:
        with stderr() as said:
            wait_for(named, 300)
            assert named()
    finally:
        cluster.remove_node(other)
    assert re.findall(".*left out.*", said.getvalue()) == [
        "Ray's node 127.0.0.1 is left out: it has numpy 0, and this machine "
        f"{np.__version__}: results would differ"
    ]
    assert other.node_id not in used


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


def test_two_write_the_same_shared_file_where_one_is_late(cluster, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    jobs = [FileJob(folder / name, source=tmp_path / "begun") for name in ("late", "b", "c", "d")]
    (folder / f"{ATTEMPT}1").mkdir()  # of a stage that was killed
    with closing(OnRay(cluster.address, 1, shared_files=True)(1)) as pool:
        assert len(list(pool.run_files(write_late, jobs))) == 4
        made = {file.name: file.read_text() for file in folder.iterdir()}
        assert made == {"late": "whole", "b": "whole", "c": "whole", "d": "whole"}
        assert dict(pool.run(square, [5, 6])) == {0: 25, 1: 36}


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
from world_models.runtime.parcels import ATTEMPT, FileJob
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


def test_a_ray_of_our_own_listens_on_the_loopback_interface_and_ends_with_its_process(
    home, tmp_path
):
    driver, workers = drive(tmp_path)
    family = [driver, *driver.children(recursive=True)]
    assert {*workers} < {*family}
    assert any(home.glob("ray-*/session_*"))
    sockets = [socket for each in family for socket in each.net_connections()]
    listening = {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    driver.kill()
    driver.wait()
    assert listening
    assert listening <= LOOPBACK
    wait_for(lambda: not any(map(works, family)), 30)
    wait_for(lambda: not any(home.glob("ray-*")))


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
def test_another_library_or_other_code_makes_a_difference(name):
    here = ray_pool.versions()
    assert ray_pool._difference(here) is None
    wanted = f"it has {name} 1, and this machine {here[name]}: results would differ"
    assert ray_pool._difference(here | {name: "1"}) == wanted
    lacking = ray_pool._difference({other: here[other] for other in here.keys() - {name}})
    assert f"it has {name} nowhere, and" in str(lacking)


def test_nodes_where_no_worker_can_start_are_left_out_and_with_the_last_one_the_pool_ends(
    monkeypatch, capsys
):
    addresses = "10.0.0.1", "10.0.0.2"
    nodes = [
        {"NodeID": at, "NodeManagerAddress": at, "Alive": True, "Resources": {"CPU": 1.0}}
        for at in addresses
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "kill", lambda _: None)
    told = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'world_models'"

    def fail(address):
        cause = RayTaskError("RayWorker", told, ModuleNotFoundError(), ip=address)
        one = ray_pool._Worker(actor=None)
        assert pool._left_by(one, None, ActorDiedError(cause)) == []

    def line(address):
        fault = "no worker can start there (ModuleNotFoundError: No module named 'world_models')"
        return f"Ray's node {address} is left out: {fault}"

    pool = ray_pool.RayPool()
    for _ in range(2):
        fail("10.0.0.1")
    assert capsys.readouterr().err == line("10.0.0.1") + "\n"
    with pytest.raises(WorldModelsError) as last:
        fail("10.0.0.2")
    assert str(last.value) == line("10.0.0.2") + "; there is no other"
    assert capsys.readouterr().err == ""
    with pytest.raises(WorldModelsError, match=r"^Ray's workers can't start: ModuleNotFoundError"):
        fail("10.0.0.3")


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
