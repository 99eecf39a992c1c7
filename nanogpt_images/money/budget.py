"""What a batch may spend: reserved before a request goes out, settled when its outcome is known."""

from __future__ import annotations


class Budget:
    """
    A cap on money, in nano-USD.

    `reserve` never lets `spent + reserved` pass the cap. Only a cost above its reservation can, which means
    that the service charged more than its catalogue says.
    The object belongs to one event loop or thread.

    Args:
        cap_nano: The cap; None for no cap.
        spent_nano: Spent by earlier runs of the job, unknown outcomes at their worst case included.
    """

    def __init__(self, cap_nano: int | None, spent_nano: int = 0) -> None:
        if (cap_nano is not None and cap_nano < 0) or spent_nano < 0:
            raise ValueError("neither the cap nor the amount spent can be negative")
        self.cap = cap_nano
        self._spent = spent_nano
        self._reserved = 0

    @property
    def spent(self) -> int:
        """Known costs and held reservations, earlier runs included."""
        return self._spent

    @property
    def reserved(self) -> int:
        """Worst case of the requests whose outcome is open."""
        return self._reserved

    @property
    def available(self) -> int | None:
        """What can still be reserved, at least 0; None without a cap."""
        return None if self.cap is None else max(0, self.cap - self._spent - self._reserved)

    def reserve(self, nano: int) -> bool:
        """Set *nano* aside for a request; False, and nothing changed, when that could pass the cap."""
        if nano < 0:
            raise ValueError(f"a reservation of {nano} nano-USD is negative")
        if (available := self.available) is not None and nano > available:
            return False
        self._reserved += nano
        return True

    def could_fit(self, nano: int) -> bool:
        """Return whether *nano* fits once every open reservation is released: if so waiting may help, else never."""
        return self.cap is None or self._spent + nano <= self.cap

    def settle(self, reserved: int, actual: int) -> None:
        """Replace a reservation by what the request did cost."""
        if actual < 0:
            raise ValueError(f"a cost of {actual} nano-USD is negative")
        self.release(reserved)
        self._spent += actual

    def release(self, reserved: int) -> None:
        """Drop the reservation of a request that cost nothing."""
        if not 0 <= reserved <= self._reserved:
            raise ValueError(f"{reserved} nano-USD were not reserved; {self._reserved} are")
        self._reserved -= reserved

    def hold(self, reserved: int) -> None:
        """Count the reservation of a request with an unknown outcome as spent."""
        self.settle(reserved, reserved)
