"""What single parts of the service cost, and the alternatives that were measured."""
