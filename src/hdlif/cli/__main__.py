"""`python -m hdlif.cli`: the command line without what `hdlif` does about Ctrl-C."""

from hdlif.cli import main

if __name__ == "__main__":
    main()
