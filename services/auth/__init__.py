"""auth: accounts, sign-in sessions and settings of users."""
