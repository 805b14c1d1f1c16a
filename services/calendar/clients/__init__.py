"""The services that calendar calls, and addresses of others that it reads."""
