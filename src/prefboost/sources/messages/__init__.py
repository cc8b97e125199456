"""Messages: conversations in the spellings that data sets use, to one spelling."""
