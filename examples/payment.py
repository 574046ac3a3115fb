"""A payment that must not be made twice, at a bank that is slow to answer: `@step(on_unknown=…)` and `effect_key()`.

playbooksctl run examples/payment.py --args '{"bank": "bank.jsonl", "answer_s": 20}'

The bank is a file of this folder, one line of JSON for each payment it has made. It pays first and answers later: kill the
run in between (`kill -9`), when the money has gone and nobody has been told. `playbooksctl run examples/payment.py --resume`
asks the bank by the payment's key, finds it, and goes on with the receipt. A payment that was never made, it makes.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from playbooks_worker import effect_key, playbook, step

Receipt = dict[str, Any]


async def find_payment(key: str, bank: str, to: str, cents: int, answer_s: float) -> Receipt:
    """What became of a payment whose outcome nobody knows. Called with its key and its arguments."""
    for receipt in statement(bank):
        if receipt["key"] == key:
            return receipt
    raise step.NotDone  # the bank never heard of it: pay


@step(on_unknown=find_payment)
async def pay(bank: str, to: str, cents: int, answer_s: float) -> Receipt:
    receipt = {"key": effect_key(), "to": to, "cents": cents, "number": len(statement(bank)) + 1}
    with Path(bank).open("a") as file:
        file.write(json.dumps(receipt) + "\n")
    await asyncio.sleep(answer_s)  # the money has gone, the answer is on its way
    return receipt


def statement(bank: str) -> list[Receipt]:
    """All payments that the bank has made."""
    path = Path(bank)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@playbook
async def main(bank: str = "bank.jsonl", answer_s: float = 20.0) -> list[int]:
    """Three invoices, paid one after the other. Answers the numbers of the receipts."""
    receipts = []
    for to, cents in (("Ada", 4_200), ("Grace", 1_250), ("Barbara", 999)):
        receipts.append(await pay(bank, to, cents, answer_s))
    return [receipt["number"] for receipt in receipts]
