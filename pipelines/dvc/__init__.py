"""All that talks to the insides of DVC, whose version is held to one minor release."""
