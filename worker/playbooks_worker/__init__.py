"""Playbooks Enterprise: durable, distributed execution for agents written in async Python.

What a program imports. Everything else of this package is reached through the commands.
"""

from playbooks_worker.engine import PlaybookRefused, playbook

__all__ = ["PlaybookRefused", "playbook"]
