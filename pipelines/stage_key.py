"""DVC's key of a stage, which names its entry in the run cache."""


def stage_key(stage: str) -> str:
    """The hash of a stage's command, parameters, outputs' names and what it depends on.

    Runs of the same key have the same results. To be asked for where DVC runs the stage; `stage`
    is named as there, `vae@carracing`.
    """
    # DVC has no public call for this; its version is held to one minor release.
    from dvc.repo import Repo
    from dvc.stage.cache import _get_stage_hash

    with Repo() as repo:
        found = repo.stage.load_one(name=stage)
        found.save_deps()
        return str(_get_stage_hash(found))
