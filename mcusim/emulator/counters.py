"""Timers and counters, which do by themselves what a table of registers cannot say."""

from __future__ import annotations

from collections.abc import Callable

from mcusim.emulator.peripherals import RegisterBank, Wiring

__all__ = ["NordicCounter", "NordicTimer", "Rp2040Timer", "Stm32Timer"]


class UpCounter:
    """A value that rises with time while it runs.

    Args:
        wiring: of the chip.
        bits: width.
    """

    def __init__(self, wiring: Wiring, bits: int) -> None:
        self._wiring = wiring
        self._mask = (1 << bits) - 1
        self.bits = bits
        self.running = False
        self._value = 0
        self._since = 0.0
        self.cycles_per_tick = 1.0

    def set_width(self, bits: int) -> None:
        """Change the width, which cuts the value."""
        self.set(self.value)
        self.bits, self._mask = bits, (1 << bits) - 1

    @property
    def value(self) -> int:
        """The value now."""
        passed = 0
        if self.running:
            passed = int((self._wiring.timeline.now - self._since) / self.cycles_per_tick)
        return (self._value + passed) & self._mask

    def set(self, value: int, running: bool | None = None) -> None:
        """Set the value, and whether it rises from now on."""
        self._value, self._since = value & self._mask, float(self._wiring.timeline.now)
        self.running = self.running if running is None else running

    def set_speed(self, cycles_per_tick: float) -> None:
        """Change how fast it rises, from now on."""
        self.set(self.value)
        self.cycles_per_tick = cycles_per_tick

    def cycle_of(self, target: int) -> int | None:
        """The cycle at which it next comes to a value; None while it stands."""
        if not self.running:
            return None
        ticks = (target - self._value) & self._mask
        due = self._since + ticks * self.cycles_per_tick
        if due <= self._wiring.timeline.now:
            laps = (self._wiring.timeline.now - due) // (
                (self._mask + 1) * self.cycles_per_tick
            ) + 1
            due += laps * (self._mask + 1) * self.cycles_per_tick
        return -int(-due // 1)


def _put(bank: RegisterBank, what: str, due: float | None, action: Callable[[], None]) -> None:
    """Have an action of a peripheral done at a cycle, or not at all."""
    label = f"{bank.name}.{what}"
    if due is None:
        bank.wiring.timeline.cancel(label)
    else:
        bank.wiring.timeline.schedule(label, int(due), action)


class NordicTimer(RegisterBank):
    """TIMER of nRF52 chips (PS, "TIMER: Timer/counter")."""

    _COMPARE, _CC, _CAPTURE = 0x140, 0x540, 0x040
    _WIDTHS = (16, 8, 24, 32)

    def reset(self) -> None:
        """As after reset of the chip."""
        super().reset()
        self._counter = UpCounter(self.wiring, 16)
        self._set_speed(self.values.get(0x510, 4))

    def write_word(self, offset: int, value: int) -> None:
        """Tasks, and registers that the counter runs by."""
        super().write_word(offset, value)
        counter = self._counter
        if offset in (0x000, 0x004, 0x008, 0x00C, 0x010) and value:
            if offset == 0x000:
                counter.set(counter.value, running=True)
            elif offset in (0x004, 0x010):
                counter.set(counter.value, running=False)
            elif offset == 0x00C:
                counter.set(0)
            elif self.values.get(0x504, 0):
                counter.set(counter.value + 1)  # TASKS_COUNT, in counter mode
        elif self._CAPTURE <= offset < self._CAPTURE + 4 * self.table.channels and value:
            self.values[self._CC + offset - self._CAPTURE] = counter.value
        elif offset == 0x508:
            counter.set_width(self._WIDTHS[value & 3])
        elif offset == 0x510:
            self._set_speed(value & 15)
        self._schedule()

    def _set_speed(self, prescaler: int) -> None:
        clock = self.table.clock_hz or 16_000_000
        self._counter.set_speed(self.wiring.machine.clock_hz / clock * 2**prescaler)

    def _schedule(self) -> None:
        for channel in range(self.table.channels):
            due = self._counter.cycle_of(self.values.get(self._CC + 4 * channel, 0))
            _put(self, str(channel), due if self._tells(channel) else None, self._matched(channel))

    def _tells(self, channel: int) -> bool:
        """Whether a match changes anything: it does not where the event is there already."""
        shorts = self.values.get(0x200, 0) >> channel & 0x101
        return bool(shorts) or not self.values.get(self._COMPARE + 4 * channel, 0)

    def _matched(self, channel: int) -> Callable[[], None]:
        return lambda: self._match(channel)

    def _match(self, channel: int) -> None:
        self.values[self._COMPARE + 4 * channel] = 1
        shorts = self.values.get(0x200, 0)
        if shorts >> channel & 1:
            self._counter.set(0)
        if shorts >> 8 + channel & 1:
            self._counter.set(self._counter.value, running=False)
        self._schedule()
        self.update_interrupts()


class NordicCounter(RegisterBank):
    """RTC of nRF52 chips (PS, "RTC: Real-time counter"): 24 bits at 32,768 Hz and below."""

    _COMPARE, _CC, _COUNTER, _BITS = 0x140, 0x540, 0x504, 24

    def reset(self) -> None:
        """As after reset of the chip."""
        super().reset()
        self._counter = UpCounter(self.wiring, self._BITS)
        self._set_speed(0)

    def read_word(self, offset: int) -> int:
        """COUNTER counts; every other register is a plain one."""
        return self._counter.value if offset == self._COUNTER else super().read_word(offset)

    def write_word(self, offset: int, value: int) -> None:
        """Tasks, and registers that the counter runs by."""
        super().write_word(offset, value)
        counter = self._counter
        if offset == 0x000 and value:
            counter.set(counter.value, running=True)
        elif offset == 0x004 and value:
            counter.set(counter.value, running=False)
        elif offset == 0x008 and value:
            counter.set(0)
        elif offset == 0x00C and value:
            counter.set(0xFF_FFF0)
        elif offset == 0x508:
            self._set_speed(value & 0xFFF)
        self._schedule()

    def _set_speed(self, prescaler: int) -> None:
        clock = self.table.clock_hz or 32_768
        self._counter.set_speed(self.wiring.machine.clock_hz / clock * (prescaler + 1))

    def _schedule(self) -> None:
        timeline = self.wiring.timeline
        wanted = self.values.get(self._offsets["INTEN"], 0) | self.values.get(
            self._offsets["EVTEN"], 0
        )
        counter = self._counter
        for channel in range(self.table.channels):
            due = counter.cycle_of(self.values.get(self._CC + 4 * channel, 0))
            event = self._COMPARE + 4 * channel
            tells = not self.values.get(event, 0) and wanted >> 16 + channel & 1
            _put(self, str(channel), due if tells else None, self._happens(event))
        overflow = counter.cycle_of(0) if wanted & 2 else None
        _put(self, "overflow", overflow, self._happens(0x104))
        tick = timeline.now + counter.cycles_per_tick if counter.running and wanted & 1 else None
        _put(self, "tick", tick, self._happens(0x100))

    def _happens(self, event: int) -> Callable[[], None]:
        return lambda: self._happen(event)

    def _happen(self, event: int) -> None:
        self.values[event] = 1
        self._schedule()
        self.update_interrupts()


class Stm32Timer(RegisterBank):
    """A general-purpose or basic timer of an STM32, counting up (RM0351, "TIM2 to TIM5")."""

    _CR1, _SR, _EGR, _CNT, _PSC, _ARR, _CCR = 0x00, 0x10, 0x14, 0x24, 0x28, 0x2C, 0x34
    _ENABLED, _ONE_PULSE, _UPDATE = 1 << 0, 1 << 3, 1 << 0

    def reset(self) -> None:
        """As after reset of the chip."""
        super().reset()
        # It counts on over its period; CNT is what is left of whole periods.
        self._counter = UpCounter(self.wiring, 64)
        self.values[self._ARR] = (1 << self.table.bits) - 1
        self._set_speed()

    def read_word(self, offset: int) -> int:
        """CNT counts; every other register is a plain one."""
        if offset == self._CNT:
            return self._counter.value % self._period
        return super().read_word(offset)

    def write_word(self, offset: int, value: int) -> None:
        """Registers that the counter runs by."""
        counter = self._counter
        if offset == self._ARR:
            counter.set(counter.value % self._period)
        super().write_word(offset, value)
        if offset == self._CR1:
            counter.set(counter.value % self._period, running=bool(value & self._ENABLED))
        elif offset == self._CNT:
            counter.set(value)
        elif offset == self._EGR and value & 1:
            self._set_speed()
            counter.set(0)
            self.values[self._SR] = self.values.get(self._SR, 0) | self._UPDATE
        self._schedule()

    @property
    def _period(self) -> int:
        return (self.values.get(self._ARR, 0) or 0xFFFF) + 1

    def _set_speed(self) -> None:
        clock = self.table.clock_hz or self.wiring.machine.clock_hz
        prescaler = self.values.get(self._PSC, 0) & 0xFFFF
        self._counter.set_speed(self.wiring.machine.clock_hz / clock * (prescaler + 1))

    def _schedule(self) -> None:
        flags = self.values.get(self._SR, 0)
        period, value = self._period, self._counter.value
        lap = value // period * period
        one_pulse = self.values.get(self._CR1, 0) & self._ONE_PULSE
        due = self._counter.cycle_of(lap + period)
        _put(
            self, "update", None if flags & self._UPDATE and not one_pulse else due, self._overflow
        )
        for channel in range(self.table.channels):
            bit = 2 << channel
            target = self.values.get(self._CCR + 4 * channel, 0)
            reached = lap + target + (period if lap + target <= value else 0)
            due = self._counter.cycle_of(reached) if 0 < target < period else None
            _put(self, str(channel), None if flags & bit else due, self._flags(bit))

    def _overflow(self) -> None:
        if self.values.get(self._CR1, 0) & self._ONE_PULSE:
            self.values[self._CR1] &= ~self._ENABLED
            self._counter.set(0, running=False)
        self._set_speed()
        self._flag(self._UPDATE)

    def _flags(self, bit: int) -> Callable[[], None]:
        return lambda: self._flag(bit)

    def _flag(self, bit: int) -> None:
        self.values[self._SR] = self.values.get(self._SR, 0) | bit
        self._schedule()
        self.update_interrupts()


class Rp2040Timer(RegisterBank):
    """The microsecond timer of an RP2040 (datasheet, section 4.6): 64 bits and four alarms."""

    _ALARM, _ARMED, _INTR, _INTE, _INTF, _INTS = 0x10, 0x20, 0x34, 0x38, 0x3C, 0x40

    def reset(self) -> None:
        """As after reset of the chip."""
        super().reset()
        self._counter = UpCounter(self.wiring, 64)
        self._counter.set(0, running=True)
        clock = self.table.clock_hz or 1_000_000
        self._counter.set_speed(self.wiring.machine.clock_hz / clock)
        self._latched = 0

    def read_word(self, offset: int) -> int:
        """The time, whole or in halves; a read of TIMELR keeps the upper half for TIMEHR."""
        now = self._counter.value
        if offset in (0x0C, 0x28):
            if offset == 0x0C:
                self._latched = now >> 32
            return now & 0xFFFF_FFFF
        if offset in (0x08, 0x24):
            return self._latched if offset == 0x08 else now >> 32
        if offset == self._INTS:
            return self._status()
        return super().read_word(offset)

    def write_word(self, offset: int, value: int) -> None:
        """Alarms are armed by writing them, and disarmed by a one in ARMED."""
        if self._ALARM <= offset < self._ARMED:
            super().write_word(offset, value)
            self._arm((offset - self._ALARM) // 4, value)
        elif offset == self._ARMED:
            for alarm in (i for i in range(4) if value >> i & 1):
                self.values[self._ARMED] &= ~(1 << alarm)
                self.wiring.timeline.cancel(f"{self.name}.{alarm}")
        else:
            super().write_word(offset, value)

    def update_interrupts(self) -> None:
        """Each alarm has its own interrupt."""
        first = self.table.interrupt
        if first is not None:
            status = self._status()
            for alarm in range(4):
                self.wiring.hold_line(first + alarm, bool(status >> alarm & 1))

    def _status(self) -> int:
        values = self.values
        return (values.get(self._INTR, 0) | values.get(self._INTF, 0)) & values.get(
            self._INTE, 0
        ) | values.get(self._INTF, 0)

    def _arm(self, alarm: int, value: int) -> None:
        self.values[self._ARMED] = self.values.get(self._ARMED, 0) | 1 << alarm
        now = self._counter.value
        due = self._counter.cycle_of(now + ((value - now) & 0xFFFF_FFFF))
        if due is not None:
            self.wiring.timeline.schedule(f"{self.name}.{alarm}", due, lambda: self._ring(alarm))

    def _ring(self, alarm: int) -> None:
        self.values[self._ARMED] &= ~(1 << alarm)
        self.values[self._INTR] = self.values.get(self._INTR, 0) | 1 << alarm
        self.update_interrupts()
