"""Scores that the paper reports: mean and standard deviation, each over 100 episodes."""

EPISODES = 100

BY_TEMPERATURE: dict[str, dict[float, dict[str, tuple[float, float]]]] = {
    "takecover": {
        0.10: {"dream": (2086, 140), "real": (193, 58)},
        0.50: {"dream": (2060, 277), "real": (196, 50)},
        1.00: {"dream": (1145, 690), "real": (868, 511)},
        1.15: {"dream": (918, 546), "real": (1092, 556)},
        1.30: {"dream": (732, 269), "real": (753, 139)},
    }
}
"""By task, temperature and world (table 2)."""

BY_INPUTS: dict[str, dict[str, dict[str, tuple[float, float]]]] = {
    "carracing": {
        "latent": {"real": (632, 251)},
        "hidden-layer": {"real": (788, 141)},
        "full": {"real": (906, 21)},
    }
}
"""By task, C and world (table 1)."""

SCORES = {
    "carracing": BY_INPUTS["carracing"]["full"]["real"],
    "takecover": BY_TEMPERATURE["takecover"][1.15]["real"],
}
"""By task, in the game: mean and deviation of 100 episodes (section 3, table 2)."""

REPLAYED: dict[str, tuple[float, int]] = {"takecover": (946, 1220)}
"""By task: the mean of the authors' released agent in today's game, and of how many episodes.

By github.com/Sha01in/world-models-jax, in its docs/vizdoom_reference_audit.md: ViZDoom, skill 4.
"""

STEPS_A_GENERATION = 1_000_000
"""What the authors' generations play, roughly: 64 candidates, 16 episodes each."""
LEARNED: dict[str, dict[int, float]] = {
    "carracing": {25: 823, 50: 867, 200: 880, 475: 891, 625: 895, 1800: 900.5},
}
"""By task and generation: the score of the search's mean in the game, in the authors' logs."""
