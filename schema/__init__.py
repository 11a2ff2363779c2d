"""The vocabulary: every table once, and what is generated from it."""
