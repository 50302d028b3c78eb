"""The Lightning trainer of V and M, on one device or several, and how it goes on after a kill."""
