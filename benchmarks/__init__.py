"""Timed and long-running checks, each a module that runs on its own."""
