"""Functions and containers: their definitions, gradual deployment, scaling and migration."""
