"""`python -m hdlif.cli`: the command line, without the Ctrl-C handling of `hdlif`."""

from hdlif.cli import main

if __name__ == "__main__":
    main()
