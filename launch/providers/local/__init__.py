"""This computer, as a process."""
