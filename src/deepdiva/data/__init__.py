"""Data sets, their preparation, and proof that they have not changed."""
