"""Writers: rows to files in the shapes that other trainers read."""
