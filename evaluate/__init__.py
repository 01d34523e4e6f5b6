"""Stage 3: predictions in, numbers, tables and a report out."""
