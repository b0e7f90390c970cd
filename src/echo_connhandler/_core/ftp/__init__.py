"""What there is to know about FTP without a connection: replies, listings, paths, properties."""
