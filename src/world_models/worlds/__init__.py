"""Two worlds with one face: the real game seen through V and M, and the dream that M makes."""
