"""Resuming of runs: selection of the checkpoint; saving, comparing and restoring of states."""
