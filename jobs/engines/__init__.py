"""Where work runs: one module an engine."""
