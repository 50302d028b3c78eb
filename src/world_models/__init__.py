"""World Models (Ha and Schmidhuber, 2018): a VAE, an MDN-RNN and a linear controller."""
