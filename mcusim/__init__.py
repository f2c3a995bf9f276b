"""mcusim: what a neural network will do on a microcontroller."""
