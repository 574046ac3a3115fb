"""What stands between a program of the user and the engine, wherever an agent runs: loading the program, living a life."""
