"""The store of answers: one SQLite file that keeps every answer under a key of all that it depends on."""
