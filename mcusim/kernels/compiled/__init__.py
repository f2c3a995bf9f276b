"""Loops compiled by numba; imported only when a model is run, never when it is estimated."""
