"""Resuming: which checkpoint a run continues from, and how its state is saved, compared and restored."""
