"""Frozen data: specification, state, events, actions."""
