"""Bytes to messages and back: sd_notify, control, guardian."""
