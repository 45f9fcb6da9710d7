"""Training: the loop and its objectives."""
