"""`python -m hdlif` is `hdlif`."""

from hdlif.cli import main

main()
