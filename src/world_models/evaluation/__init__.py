"""The final scores, their statistics, the fidelity of dreams, and the gate."""
