"""What pages are made of: each component draws itself and returns what was chosen."""
