"""A file that the disk has changed behind DVC's back is named, not read."""

import subprocess

import pytest
from dvc.repo import Repo

from pipelines.dvc.verify import verify_inputs
from tests.damage import flip_a_bit
from world_models.runtime.errors import DamagedError

STAGES = """
stages:
  vae:
    cmd: mkdir -p models/x && seq 9999 > models/x/vae.safetensors
    outs: [models/x/vae.safetensors]
  encode:
    cmd: mkdir -p data/x/latents && seq 99 > data/x/latents/0 && seq 98 > data/x/latents/1
    outs: [data/x/latents]
  rnn:
    cmd: cat models/x/vae.safetensors data/x/latents/* > m
    params: [rnn]
    deps: [models/x/vae.safetensors, data/x/latents]
    outs: [m]
"""


def repro():
    """How many stages DVC has run."""
    with Repo() as repo:
        return len(repo.reproduce())


@pytest.fixture
def project(request, tmp_path, monkeypatch):
    """A project that has run; its files are the cache's own, or copies of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / ".dvc" / "site"))
    (tmp_path / ".dvc").mkdir()
    config = f"[core]\nno_scm = true\n[cache]\ntype = {request.param}\n"
    (tmp_path / ".dvc" / "config").write_text(config)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "params.yaml").write_text("rnn: {batches: 1}")
    repro()
    return tmp_path


@pytest.mark.parametrize(
    ("project", "name"),
    [
        ("hardlink", "models/x/vae.safetensors"),
        ("hardlink", "data/x/latents/1"),
        ("copy", "models/x/vae.safetensors"),
    ],
    indirect=["project"],
)
def test_a_flipped_bit_is_found_and_the_remedy_brings_the_file_back(project, name):
    verify_inputs("rnn")
    whole = (project / name).read_bytes()
    flip_a_bit(project / name, 100)
    assert repro() == 0  # DVC itself sees nothing
    with pytest.raises(DamagedError, match=f"^{name}: damaged") as error:
        verify_inputs("rnn")
    remedy = str(error.value).split("`")[1]
    subprocess.run(remedy.split(), check=True)
    repro()
    assert (project / name).read_bytes() == whole
    verify_inputs("rnn")
