"""Checks a library's functions within a user's firmware against mcusim's kernels."""
