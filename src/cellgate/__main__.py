"""python -m cellgate."""

from cellgate.cli import main

if __name__ == "__main__":
    main()
