"""The HTTP routes and their OpenAPI description."""
