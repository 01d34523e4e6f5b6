"""Results as terminal tables, HTML, Markdown, CSV and LaTeX."""
