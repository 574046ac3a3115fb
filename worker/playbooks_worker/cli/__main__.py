"""``python -m playbooks_worker.cli``: `playbooksctl` where its script is not on PATH (the demo, tests)."""

from playbooks_worker.cli.main import main

if __name__ == "__main__":
    main()
