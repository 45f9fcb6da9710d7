"""Generated pictures with known truth: scenes and posters, drawn from a seed."""
