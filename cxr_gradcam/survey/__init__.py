"""A whole folder through one classifier, in the background: what it says, and where it looks."""
