"""Scorers, criteria, policies, the ledger, duplicates, metric functions."""
