"""What would make a network faster or thriftier on a board, tried and priced."""

from mcusim.advice.advise import Advice, Change, Setting, advise

__all__ = ["Advice", "Change", "Setting", "advise"]
