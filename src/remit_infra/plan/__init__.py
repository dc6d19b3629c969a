"""What can be said of a topology before it is deployed: resources, cost, pictures."""
