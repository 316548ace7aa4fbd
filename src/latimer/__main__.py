"""`python -m latimer`."""

from latimer.cli import main

if __name__ == "__main__":
    main()
