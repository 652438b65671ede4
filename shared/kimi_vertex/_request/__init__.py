"""What a request says: messages and options in, the body out. Pure."""
