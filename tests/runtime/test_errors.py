"""What messages say, and what they don't."""

import pytest

from world_models.runtime.errors import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host/x: down", "http://host/x: down"),
        ("postgresql://me:se/cret@host/runs", "postgresql://host/runs"),
        ("postgresql://me:se@cret@host/runs", "postgresql://host/runs"),
        ("http://host:5000/a, http://me:secret@other/", "http://host:5000/a, http://other/"),
        ("http://host/runs of me@home", "http://host/runs of me@home"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_addresses_lose_who_logs_in_and_how(text, shown):
    assert without_passwords(text) == shown
