"""The only package that knows which adapter fills which port."""
