"""What an answer says: the server's JSON in, typed events out. Pure."""
