"""Explaining many files: what stands behind the command `explain`."""
