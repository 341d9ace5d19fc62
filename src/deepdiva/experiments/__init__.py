"""Whole stories over runs: train, resume, check."""
