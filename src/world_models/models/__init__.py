"""V, M and C as plain torch, and how they are kept on disk."""
