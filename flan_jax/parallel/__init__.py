"""Meshes, logical axes, multi-host start-up, and programs compiled ahead."""
