"""`resnest-service doctor`: check the host, the libraries, the models and the settings."""
