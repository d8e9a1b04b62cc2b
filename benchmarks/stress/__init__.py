"""The service under overload, faults and hostile uploads."""
