"""What a machine is called."""

import os

import pytest

from world_models.runtime import devices


@pytest.mark.parametrize(
    ("known", "called"),
    [("model name\t: Abacus 2\nmodel name\t: Abacus 2\n", "Abacus 2"), ("", "")],
)
def test_a_machine_is_so_many_cores_of_a_name(tmp_path, monkeypatch, known, called):
    """Where the system doesn't say what they are called, it is their kind."""
    monkeypatch.setattr(devices, "PROCESSORS", tmp_path / "cpuinfo")
    if known:
        devices.PROCESSORS.write_text(known)
    monkeypatch.setattr(devices.platform, "machine", lambda: "x86_64")
    assert devices.machine().startswith(f"{os.cpu_count()} × {called or 'x86_64'}")
