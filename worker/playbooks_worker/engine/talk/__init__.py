"""Agents that talk, wait and sleep: what a program calls, as operations of the engine, and an agent's mailbox.

Whoever runs an agent gives it a `World`, brings letters with `Agent.deliver` and takes the outbox from each `Moment`;
nothing here knows how letters travel, or what wakes an agent that is not in memory.
"""
