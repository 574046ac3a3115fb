"""Liveness, reassignment and timers: the processes that watch over workers. Imports the providers only."""
