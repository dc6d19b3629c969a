"""What the processes of a service share in Redis. It never decides."""
