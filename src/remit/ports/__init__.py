"""What the service needs of the world, as protocols; `App` holds one of each."""
