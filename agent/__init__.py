"""Recorders that drive the profilers."""
