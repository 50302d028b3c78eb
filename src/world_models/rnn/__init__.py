"""M, the MDN-RNN: its parameters, mixture, net and training."""
