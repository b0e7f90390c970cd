"""SQLite: its words, its values, its errors."""
