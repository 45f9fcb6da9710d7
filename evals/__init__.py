"""Evaluations of models and policies."""
