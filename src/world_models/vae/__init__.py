"""V, the convolutional VAE: its parameters, net, training, and the data set through it."""
