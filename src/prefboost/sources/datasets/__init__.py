"""Published data sets: their columns, the range of their scores, and corrections of their rows."""
