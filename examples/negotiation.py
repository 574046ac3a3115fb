"""A buyer and a seller haggle, and a person has the last word: three agents and you, each of which may die at any time.

    playbooksctl run examples/negotiation.py --snoop

Press Ctrl+C whenever you like, and go on: `playbooksctl run examples/negotiation.py --resume --snoop`. Every agent of the
run comes back at the very await that it had reached; no offer is lost, and none is made twice. The minds are scripted, so
that it runs offline; with NEGOTIATION_MODEL_URL (an OpenAI-compatible endpoint) and NEGOTIATION_MODEL a real model speaks.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request

from playbooks_worker import Message, ask, person, playbook, receive, send, spawn, step

THINKS_S = float(os.environ.get("NEGOTIATION_THINKS_S", "0.4"))


@playbook
async def main(item: str = "a bicycle", asked: int = 200, budget: int = 150) -> dict:
    seller = await spawn(sell, item, asked, floor=asked * 6 // 10)
    buyer = await spawn(buy, item, seller.agent_id, budget)
    deal = await buyer
    approved = await ask(person("boss"), f"Buy {item} for {deal['price']}? (yes/no)")
    await send(seller.agent_id, {"sold": approved.strip().lower().startswith("y")})
    return {**deal, "approved": approved, "seller": await seller}


@playbook
async def buy(item: str, seller: str, budget: int) -> dict:
    """Asks the seller again and again, a little more each time."""
    offer, history = budget // 2, []
    while True:
        wanted = await ask(seller, {"offer": offer})
        history.append([offer, wanted["price"]])
        if wanted["agreed"]:
            return {"item": item, "price": wanted["price"], "offers": len(history)}
        if offer >= budget:
            offer = budget
        words = await think("buyer", item, history)
        offer = min(budget, wanted["price"], offer + max(5, words["step"]))


@playbook
async def sell(item: str, asked: int, floor: int) -> str:
    """Answers offers, a little less each time, until it is told whether the deal holds."""
    price, history = asked, []
    while True:
        message: Message = await receive()
        if "sold" in message.value:
            return "sold" if message.value["sold"] else "kept"
        offer = message.value["offer"]
        history.append([offer, price])
        words = await think("seller", item, history)
        price = max(floor, offer, price - max(5, words["step"]))
        await message.reply({"price": price, "agreed": price <= offer})


@step(retries=3)
async def think(role: str, item: str, history: list) -> dict:
    """How far to go this time. One model call: it is repeated only if the process dies while it is under way."""
    url = os.environ.get("NEGOTIATION_MODEL_URL")
    if not url:
        await asyncio.sleep(THINKS_S)
        gap = history[-1][1] - history[-1][0]
        return {"step": gap // 4}
    prompt = (
        f"You are the {role} of {item}. Offers and asked prices so far: {history}. "
        'By how much do you move this time? Answer with JSON alone: {"step": <whole number>}'
    )
    return await asyncio.to_thread(_ask_model, url, prompt)


def _ask_model(url: str, prompt: str) -> dict:
    body = {"model": os.environ["NEGOTIATION_MODEL"], "messages": [{"role": "user", "content": prompt}]}
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("NEGOTIATION_MODEL_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = json.load(answer)["choices"][0]["message"]["content"]
    return json.loads(text[text.index("{") : text.rindex("}") + 1])
