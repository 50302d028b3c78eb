"""Jobs about files, of which several workers may be at one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from world_models.runtime.files import atomic_write
from world_models.runtime.parcels import FileJob, SharedWork, put_in_place, remove_attempts


def test_two_write_the_same_shared_file_at_the_same_time(tmp_path):
    both = Barrier(2, timeout=60)

    def write(job):
        with atomic_write(job.path) as aside:
            aside.write_text("half")
            both.wait()
            aside.write_text("whole")
            both.wait()
        return "done"

    job = FileJob(tmp_path / "deep" / "file")
    with ThreadPoolExecutor(2) as threads:
        (result, written), (_, other) = threads.map(SharedWork(write), [job, job])
    assert result == "done"
    assert not job.path.exists()
    put_in_place(job, written)
    assert job.path.read_text() == other.read_text() == "whole"
    remove_attempts([job])
    assert [*job.path.parent.iterdir()] == [job.path]
