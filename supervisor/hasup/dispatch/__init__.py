"""Spreads connections over replicas: balance (pure) and the proxy."""
