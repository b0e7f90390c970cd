"""What is PostgreSQL's own: words, values, errors."""
