"""Engine implementations and the command line."""
