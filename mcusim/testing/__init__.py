"""Assertions for users' own test suites; :mod:`mcusim.testing.strategies` draws models to test.

>>> from mcusim.testing import assert_fits
>>> assert_fits("ds-cnn", "nucleo-l496zg", ram_share=0.8).arena_bytes
22772
"""

from mcusim.testing.assertions import (
    StraddlesBudget,
    assert_bit_exact,
    assert_fits,
    assert_latency,
)

__all__ = ["StraddlesBudget", "assert_bit_exact", "assert_fits", "assert_latency"]
