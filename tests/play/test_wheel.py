"""A wheel brings the built page with it: the playground then needs neither npm nor a clone."""

import os
import subprocess
import urllib.request

from tests.installs import build_wheel, make_environment


def test_the_page_comes_with_a_wheel_and_is_served_from_there(page, tmp_path):
    wheel = build_wheel(tmp_path / "wheel", page)
    python = make_environment(tmp_path / "env", wheel, ["play"])
    command = [python.with_name("world-models"), "play", "--no-browser", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            address = server.stdout.readline().split()[0]
            for file in page.rglob("*"):
                if file.is_file() and file.parent.name != "api":  # which the server answers itself
                    with urllib.request.urlopen(address + str(file.relative_to(page))) as answer:
                        assert answer.read() == file.read_bytes()
        finally:
            server.terminate()
