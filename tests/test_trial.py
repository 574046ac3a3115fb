"""Who runs alone, and who is set aside: every number of attempts."""

from __future__ import annotations

import pytest

from playbooks_worker.trial import Verdict, verdict


@pytest.mark.parametrize(
    ("attempts", "said"),
    [
        (1, Verdict.TOGETHER),  # never died
        (2, Verdict.TOGETHER),  # died once, perhaps of a neighbour
        (3, Verdict.ALONE),
        (4, Verdict.ALONE),
        (5, Verdict.ALONE),
        (6, Verdict.QUARANTINE),  # died three times alone
        (60, Verdict.QUARANTINE),
    ],
)
def test_from_the_second_death_on_alone_and_after_three_lonely_deaths_quarantined(attempts: int, said: Verdict) -> None:
    assert verdict(attempts) is said


def test_how_many_lonely_deaths_condemn_can_be_said() -> None:
    assert verdict(4, lonely_deaths=1) is Verdict.QUARANTINE
