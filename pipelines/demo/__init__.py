"""The whole loop on a generated corpus with planted truth, served by a local HTTP server."""
