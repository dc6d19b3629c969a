"""What callers reach: API Gateway, the load balancer, the web firewall."""
