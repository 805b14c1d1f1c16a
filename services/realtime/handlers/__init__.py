"""The two doors of the service, gRPC and WebSocket, onto the same streams."""
