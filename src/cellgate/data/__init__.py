"""Reading the user's files, and batching what was read."""
