"""What every service runs on; knows no service."""
