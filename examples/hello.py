"""The smallest program: two awaits, each a checkpoint.

playbooksctl run examples/hello.py --args '["Ada"]'
"""

import asyncio
from datetime import datetime

from playbooks_worker import playbook


async def hour() -> int:
    """An effect: any plain coroutine. Once it has completed it never runs again for this agent."""
    await asyncio.sleep(0)
    return datetime.now().hour


@playbook
async def greeting(name: str) -> str:
    now = await hour()
    return f"Good {'morning' if now < 12 else 'day' if now < 18 else 'evening'}, {name}!"


@playbook
async def main(name: str = "world") -> str:
    return await greeting(name)
