"""An optimiser step on any device: parts within memory, number types, speed, progress."""
