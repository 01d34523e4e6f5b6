"""How a corpus's files are read: tables row by row, JSON, subtitles, names that say everything."""
