"""C, the controller: its parameters, the policy, CMA-ES, and the search that evolves it."""
