"""One module per topology: the program that defines all of its resources."""
