"""What fills the ports: one module for each kind of dependency."""
