"""What availability to expect of a configuration: by formula, and by the real decisions in a simulated world."""
