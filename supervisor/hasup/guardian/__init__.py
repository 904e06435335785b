"""The parent of everything: spawns, reaps, keeps descriptors and state. No policy."""
