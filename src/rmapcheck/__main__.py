"""`python -m rmapcheck` is the command line."""

from rmapcheck.cli import main

if __name__ == "__main__":
    main()
