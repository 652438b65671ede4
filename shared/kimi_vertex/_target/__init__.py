"""Where requests go: settings in, URLs out. Pure."""
