"""Tokens: the only package that knows google-auth."""
