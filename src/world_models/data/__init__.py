"""Episodes on disk, and the streams of frames and sequences that training reads from them."""
