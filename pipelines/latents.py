"""Opens the data set through V, from a stage's files."""

from pipelines.stage import Stage
from world_models.data.store import EpisodeStore
from world_models.errors import StoreError
from world_models.rounds import remedy


def open_latents(stage: Stage, size: int) -> EpisodeStore:
    """The data set through V; raises StoreError where its latents are of another size than V's."""
    store = EpisodeStore(stage.latents)
    found = store.read_frames(store.episodes()[0], "mu", 0, 1).shape[1]
    if found != size:
        raise StoreError(
            f"{stage.latents}: holds latents of {found}, V makes them of {size}; "
            + remedy("encode", stage.params.round)
        )
    return store
