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
