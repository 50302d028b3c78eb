"""What the rounds of a task are called: `takecover`, then `takecover-2` and so on."""

import re


def task(round_: str) -> str:
    """The task that it is a round of."""
    return re.sub(r"-\d+$", "", round_)


def number(round_: str) -> int:
    """Which round of its task it is, from 1."""
    return int(round_[len(task(round_)) + 1 :] or 1)


def dvc_stage(stage: str, round_: str) -> str:
    """What DVC calls a stage of a round: `vae@takecover`, `vae-again@takecover-2`."""
    return f"{stage}@{round_}" if number(round_) == 1 else f"{stage}-again@{round_}"


def remedy(stage: str, round_: str) -> str:
    """What to do where a result of that stage is missing, damaged or of another kind."""
    return f"make it again with `dvc repro --force --single-item {dvc_stage(stage, round_)}`"
