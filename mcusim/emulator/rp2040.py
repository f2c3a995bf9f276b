"""The single-cycle I/O block of an RP2040."""

from __future__ import annotations

from mcusim.emulator.peripherals import RegisterBank

__all__ = ["SingleCycleIo"]


class SingleCycleIo(RegisterBank):
    """SIO (RP2040 datasheet, section 2.3.1): the divider, spinlocks and queues of core 0."""

    _UDIVIDEND, _CSR, _SPINLOCKS = 0x60, 0x78, 0x100

    def read_word(self, offset: int) -> int:
        """A spinlock is claimed by reading it; the divider is always ready."""
        if self._SPINLOCKS <= offset < self._SPINLOCKS + 0x80:
            free = not self.values.get(offset, 0)
            self.values[offset] = 1
            return 1 << (offset - self._SPINLOCKS) // 4 if free else 0
        if offset == self._CSR:
            return 1
        return super().read_word(offset)

    def write_word(self, offset: int, value: int) -> None:
        """Operands of the divider are shared between its signed and unsigned registers."""
        if self._SPINLOCKS <= offset < self._SPINLOCKS + 0x80:
            self.values[offset] = 0
            return
        super().write_word(offset, value)
        if self._UDIVIDEND <= offset < self._UDIVIDEND + 0x10:
            signed = offset >= self._UDIVIDEND + 8
            other = offset - 8 if signed else offset + 8
            self.values[other] = value
            dividend, divisor = self.values.get(0x60, 0), self.values.get(0x64, 0)
            self.values[0x70], self.values[0x74] = _divide(dividend, divisor, signed)


def _divide(dividend: int, divisor: int, signed: bool) -> tuple[int, int]:
    """Quotient and remainder; a division by zero gives all ones, or one, and the dividend."""
    if signed:
        dividend = dividend - (dividend >> 31 << 32)
        divisor = divisor - (divisor >> 31 << 32)
    if not divisor:
        quotient, remainder = (1 if signed and dividend < 0 else -1), dividend
    else:
        quotient = abs(dividend) // abs(divisor)
        quotient = -quotient if (dividend < 0) != (divisor < 0) else quotient
        remainder = dividend - quotient * divisor
    return quotient & 0xFFFF_FFFF, remainder & 0xFFFF_FFFF
