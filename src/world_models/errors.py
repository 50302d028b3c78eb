"""The errors that a user can mend: each message is one line that names the thing and the remedy."""


class WorldModelsError(Exception):
    """Something outside the code is wrong: a parameter, a file, a training that diverged."""


class ConfigError(WorldModelsError, ValueError):
    """A parameter is unknown, missing or out of range."""


class CheckpointError(WorldModelsError):
    """A checkpoint is missing, damaged or made with other sizes."""


class StoreError(WorldModelsError):
    """A shard of the data set is missing or damaged."""


class DamagedError(WorldModelsError):
    """A file has changed since the stage that makes it wrote it."""


class ScoresError(WorldModelsError):
    """Scores or their baseline are missing or damaged."""


class TrackingError(WorldModelsError):
    """MLflow does not have what was asked for."""


class DivergedError(WorldModelsError):
    """A loss is no longer finite."""
