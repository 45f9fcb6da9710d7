"""Where records come from, a source a module."""
