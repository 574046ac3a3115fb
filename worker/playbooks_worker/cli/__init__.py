"""`playbooksctl`, the person's command. One module per command or concept; nothing else in the package imports it.

Command modules import only the standard library and typer at the top: what a command needs (Redis, the engine, rich) is
imported inside it, so that `playbooksctl --help` answers at once. The layer above everything: it wires, nothing uses it.
"""
