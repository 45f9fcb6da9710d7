"""The recipe and the stages that compose the rooms."""
