"""MySQL and MariaDB: their words, their values, their errors, and the protocol after the login."""
