"""What all generators of programs choose with."""

from __future__ import annotations

import random


class Choosing:
    """Numbers its statements, and picks among them by one source of chance."""

    random: random.Random
    number = 0

    def k(self) -> int:
        self.number += 1
        return self.number

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, *options):
        return self.random.choice(options)
