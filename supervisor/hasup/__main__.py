"""``python -m hasup``."""

from hasup.cli import main

if __name__ == "__main__":
    main()
