"""Manifests that run a recipe on a cluster, and the image its workers live in."""
