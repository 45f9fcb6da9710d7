"""Weights that this project trained itself, with the command that made them."""
