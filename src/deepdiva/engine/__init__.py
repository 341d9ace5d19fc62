"""The loop, and what it asks of a task."""
