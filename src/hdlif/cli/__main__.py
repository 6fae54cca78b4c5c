"""Run the command line as `python -m hdlif.cli`, without the Ctrl-C handling of `hdlif`."""

from hdlif.cli import main

if __name__ == "__main__":
    main()
