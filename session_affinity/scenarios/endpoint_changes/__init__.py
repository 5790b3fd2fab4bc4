"""What becomes of clients while the endpoints of their Service come and go."""
