"""Read, write and lock run folders."""
