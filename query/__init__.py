"""Reads the store: questions, flame graphs, exports."""
