"""Making the data set: random policies and agents, and their episodes into the store."""
