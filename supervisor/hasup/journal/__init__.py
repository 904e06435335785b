"""What happened: events into SQLite, history and availability out."""
