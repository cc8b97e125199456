"""Readers: the bytes of files, folders, streams and the hub to raw records."""
